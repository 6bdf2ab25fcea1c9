import type { Middleware, ServiceBroker } from "moleculer";
import { removeNode } from "./moleculer-internals.ts";

/**
 * Removes a node that has left in an orderly way from the registry. Moleculer keeps it as offline for ten minutes and
 * then warns of its missing heartbeat: a log line at every node for each operator's session and each restart. A node
 * that was lost stays in the registry, with that warning.
 */
export function departedNode(): Middleware {
  return {
    name: "Departed",
    created(broker: ServiceBroker) {
      broker.localBus.on("$node.disconnected", (event: { node: { id: string }; unexpected: boolean }) => {
        if (!event.unexpected) removeNode(broker, event.node.id);
      });
    },
  };
}
