import { networkInterfaces } from "node:os";
import type { ServiceBroker } from "moleculer";
import { metadataOf } from "./moleculer-internals.ts";

/** Key of a node's metadata under which it announces the address of its gRPC server. */
const KEY = "grpc";

/** Puts the address of this node's gRPC server into the metadata that other nodes receive. */
export function announceAddress(broker: ServiceBroker, address: string): void {
  broker.metadata[KEY] = address;
}

/** Whether a node of the cluster has this id. */
export function isNodeID(broker: ServiceBroker, id: string): boolean {
  return metadataOf(broker, id) !== undefined;
}

/** The announced address of a node's gRPC server; undefined for a node without one. */
export function announcedAddress(broker: ServiceBroker, nodeID: string): string | undefined {
  const address = metadataOf(broker, nodeID)?.[KEY];
  return typeof address === "string" ? address : undefined;
}

export function hostAndPort(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** A host that other machines can connect to: for a server that listens on any address, the first external address. */
export function reachableHost(host: string): string {
  if (host !== "0.0.0.0" && host !== "::") return host;
  const family = host === "::" ? "IPv6" : "IPv4";
  const all = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  const external = all.filter((each) => !each.internal && !each.address.startsWith("fe80:"));
  const found = external.find((each) => each.family === family) ?? external[0];
  return found?.address ?? (family === "IPv6" ? "::1" : "127.0.0.1");
}
