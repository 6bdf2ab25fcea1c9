import type { Middleware, ServiceBroker } from "moleculer";

/** The part of Moleculer's registry that this file uses. */
interface Registry {
  nodes: { delete(nodeID: string): boolean };
}

/**
 * Forgets a node that has left in order. Moleculer keeps it as offline for ten minutes and then warns that it sent no
 * heartbeat: a line for each operator's session and each restart, at every node. A node that was lost stays known, and is
 * warned of.
 */
export function departedNode(): Middleware {
  return {
    name: "Departed",
    created(broker: ServiceBroker) {
      const { nodes } = broker.registry as unknown as Registry;
      broker.localBus.on("$node.disconnected", (event: { node: { id: string }; unexpected: boolean }) => {
        if (!event.unexpected) nodes.delete(event.node.id);
      });
    },
  };
}
