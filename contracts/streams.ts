import { action } from "./action.ts";
import { vehicle } from "./couriers.ts";
import { orderStatus, poolEntry } from "./orders.ts";
import {
  boolean,
  type Infer,
  integer,
  listOf,
  object,
  oneOf,
  optional,
  stored,
  text,
  time,
  uuid,
  version,
} from "./schema.ts";
import { orderNumber } from "./shared.ts";

/** The most entries of the event log in one answer. */
export const LOG_PAGE_MAX = 500;

/** A move of an order, without data of its customer. Of two moves of one order, the one with the higher version is newer. */
export const orderMove = object({
  orderId: uuid,
  number: optional(orderNumber),
  partnerId: uuid,
  version,
  type: text(60),
  at: time,
  from: optional(orderStatus),
  to: orderStatus,
  actor: text(100),
  reason: optional(stored(text(500))),
  readyAt: optional(time),
  /** The courier who delivers the order. */
  delivererId: optional(uuid),
});

/** An alert, for the operators who are notified of its kind. */
export const alertEvent = object({
  alertId: uuid,
  at: time,
  kind: text(60),
  subject: stored(text(200)),
  detail: stored(text(2000)),
});

/** A courier began or ended the duty, or changed the vehicle. */
export const dutyEvent = object({ courierId: uuid, at: time, onDuty: boolean, vehicle: optional(vehicle) });

/** An order of the pool, as a courier's stream shows it. */
export const poolMove = object({ ...poolEntry.props, version });
export const offerMove = object({ ...poolMove.props, offerUntil: time });

/** The courier neither sees the order in the pool, nor is offered it, nor delivers it any more. */
export const vanishedOrder = object({ orderId: uuid, number: optional(orderNumber), version });

/**
 * The client has to read its list now; the events that follow change that list. `opened`: the stream begins here. `gap`:
 * events after Last-Event-ID are no longer stored.
 */
export const reload = object({ reason: oneOf("opened", "gap") });

/** The names of the events of each stream, with the schemas of their data. */
export const partnerEvents = { order: orderMove, reload } as const;
export const courierEvents = {
  appeared: poolMove,
  offered: offerMove,
  mine: orderMove,
  vanished: vanishedOrder,
  reload,
} as const;
export const operatorEvents = { order: orderMove, alert: alertEvent, courier: dutyEvent, reload } as const;

/** The place of an entry in the event log: microseconds since 1970, unique and ascending. */
const logId = integer(0, Number.MAX_SAFE_INTEGER);

/** An entry of the event log of Orders, from which the gateways feed the streams of partners, couriers and operators. */
export const logEntry = object({
  id: logId,
  move: optional(orderMove),
  alert: optional(alertEvent),
  duty: optional(dutyEvent),
  /** With `move`: the change of the pool. */
  pool: optional(oneOf("appeared", "vanished")),
  /** With `move`: the courier who is offered the order from now on, the one whose offer ended, and the former deliverer. */
  offeredTo: optional(uuid),
  offerUntil: optional(time),
  offerEndedFor: optional(uuid),
  formerDelivererId: optional(uuid),
  /** The order as couriers see it, if it is still in the pool or offered. It is never stored in the log. */
  shown: optional(poolEntry),
});
export type LogEntry = Infer<typeof logEntry>;

export const streamActions = {
  /**
   * For the gateway, which shares one read among the streams of all users and knows what each of them may see. `isKnown`:
   * the log still has all entries after `after`. `position`: the newest entry. Without `after` there are no items.
   */
  "orders.events": action(
    object({ after: optional(logId), partnerId: optional(uuid), limit: integer(1, LOG_PAGE_MAX) }),
    object({ isKnown: boolean, position: logId, items: listOf(logEntry) }),
    { idempotent: true },
  ),
} as const;
