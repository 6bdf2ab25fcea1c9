import { type Infer, object, type Rule, time, uuid, version } from "./schema.ts";
import { position } from "./shared.ts";

/**
 * What Orders broadcasts over the transporter for those who watch an order at this moment. Such an event may be
 * lost, and nothing depends on it: a watcher reads the order's history again, the event only says when.
 */
export const liveEvents = {
  /** The order has moved to this version, and its history tells of it. */
  "order.moved": object({ orderId: uuid, version: version }),
  /** Its deliverer reported a position; kept nowhere but as the latest one. */
  "order.position": object({ orderId: uuid, position, at: time }),
} as const satisfies Record<string, Rule>;

export type LiveEvent = keyof typeof liveEvents;
export type LiveData<E extends LiveEvent> = Infer<(typeof liveEvents)[E]>;
