export { CarrierError, inProcessCarrier } from "./in-process.ts";
export type { Carrier } from "./port.ts";
