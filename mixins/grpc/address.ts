import { networkInterfaces } from "node:os";
import type { ServiceBroker } from "moleculer";

/** The key of a node's metadata under which it announces the address of its bridge. */
const KEY = "grpc";

interface Nodes {
  get(nodeID: string): { metadata?: Record<string, unknown> } | undefined;
}

/** Tells the other nodes, in what this one says about itself, where its bridge listens. */
export function announce(broker: ServiceBroker, address: string): void {
  broker.metadata[KEY] = address;
}

/** Where the bridge of a node listens; undefined where it has none. */
export function announced(broker: ServiceBroker, nodeID: string): string | undefined {
  const { nodes } = broker.registry as unknown as { nodes: Nodes };
  const address = nodes.get(nodeID)?.metadata?.[KEY];
  return typeof address === "string" ? address : undefined;
}

export function hostAndPort(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** What listens on every address is reached by the first that is not for this machine alone. */
export function reachableHost(host: string): string {
  if (host !== "0.0.0.0" && host !== "::") return host;
  const family = host === "::" ? "IPv6" : "IPv4";
  const all = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  const outward = all.filter((each) => !each.internal && !each.address.startsWith("fe80:"));
  const found = outward.find((each) => each.family === family) ?? outward[0];
  return found?.address ?? (family === "IPv6" ? "::1" : "127.0.0.1");
}
