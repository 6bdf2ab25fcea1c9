import { type Infer, object, type Rule, time, uuid, version } from "./schema.ts";
import { position } from "./shared.ts";

/**
 * The events that Orders broadcasts over the transporter to the clients that watch an order now. An event may be lost,
 * and no state depends on it: it only triggers a new read of the order's history.
 */
export const liveEvents = {
  /** The order is at this version, and its history contains the transition. */
  "order.moved": object({ orderId: uuid, version: version }),
  /** The deliverer reported a position. Only the latest one is stored. */
  "order.position": object({ orderId: uuid, position, at: time }),
} as const satisfies Record<string, Rule>;

export type LiveEvent = keyof typeof liveEvents;
export type LiveData<E extends LiveEvent> = Infer<(typeof liveEvents)[E]>;
