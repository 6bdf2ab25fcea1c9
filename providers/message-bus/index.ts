export { MessageBusError as CarrierError } from "./error.ts";
export { inProcessMessageBus as inProcessCarrier } from "./in-process.ts";
export type { NatsOptions } from "./nats-options.ts";
export type { MessageBus as Carrier, ReplayRange as Extent, ReplayState as Keeper } from "./port.ts";
// Not here: jetstream.ts and nats-options.ts. Who needs them imports them then, since a platform in one process is
// smaller without NATS's client.
