export { CarrierError } from "./error.ts";
export { inProcessCarrier } from "./in-process.ts";
export { deployCarrier, type JetStreamOptions, jetStreamCarrier } from "./jetstream.ts";
export { type NatsOptions, natsOptions } from "./nats-options.ts";
export type { Carrier, Extent, Keeper } from "./port.ts";
