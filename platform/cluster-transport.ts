import { createHash } from "node:crypto";
import type { ServiceBroker } from "moleculer";
import type { ParsedSettings } from "../lib/settings/settings.ts";
import type { NodeOptions } from "./broker-options.ts";

/** How the nodes of a platform reach each other. */
export interface ClusterTransport {
  /** Nodes of other namespaces are invisible. */
  readonly namespace: string;
  /** @param node name of the node, such as `orders` */
  nodeIdOf(node: string): string;
  /** A new object for each broker, which may change it. */
  transport(): Pick<NodeOptions, "transporter" | "heartbeatInterval" | "heartbeatTimeout" | "discoverer">;
  /** Whether this broker can reach the others now. */
  answers(broker: ServiceBroker): Promise<boolean>;
}

/** All nodes are in this process. Needs no server, and calls take the same path as in a cluster. */
export function inMemoryTransport(
  settings: Pick<ParsedSettings, "NAMESPACE" | "DATA_DIR">,
): ClusterTransport {
  return {
    // Separates two platforms in one process, as in tests.
    namespace: `${settings.NAMESPACE}-${shortHash(settings.DATA_DIR)}`,
    nodeIdOf: (node) => node,
    transport: () => ({ transporter: { type: "Fake" } }),
    answers: async () => true,
  };
}

function shortHash(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 8);
}
