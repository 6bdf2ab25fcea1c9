import { type Infer, integer, object, type Rule, time, uuid, version } from "./schema.ts";
import { position } from "./shared.ts";

/**
 * The events that Orders broadcasts over the transporter for the streams of clients. An event may be lost, and no state
 * depends on it: it only triggers a new read of an order's history or of the event log.
 */
export const liveEvents = {
  /** The event log has new entries, the newest one at `position`. */
  "log.appended": object({ position: integer(1, Number.MAX_SAFE_INTEGER) }),
  /** The order is at this version, and its history contains the transition. */
  "order.moved": object({ orderId: uuid, version: version }),
  /** The deliverer reported a position. Only the latest one is stored. */
  "order.position": object({ orderId: uuid, position, at: time }),
} as const satisfies Record<string, Rule>;

export type LiveEvent = keyof typeof liveEvents;
export type LiveData<E extends LiveEvent> = Infer<(typeof liveEvents)[E]>;
