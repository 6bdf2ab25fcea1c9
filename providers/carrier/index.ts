export { CarrierError } from "./error.ts";
export { inProcessCarrier } from "./in-process.ts";
export type { NatsOptions } from "./nats-options.ts";
export type { Carrier, Extent, Keeper } from "./port.ts";
// Not here: jetstream.ts and nats-options.ts. Who needs them imports them then, since a platform in one process is
// smaller without NATS's client.
