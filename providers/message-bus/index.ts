// jetstream.ts and nats-options.ts are not exported here: a platform in one process does not load the NATS client.
export { MessageBusError } from "./error.ts";
export { inProcessMessageBus } from "./in-process.ts";
export type { NatsOptions } from "./nats-options.ts";
export type { MessageBus, ReplayRange, ReplayState } from "./port.ts";
