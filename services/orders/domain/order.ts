import type { AlertKind } from "../../../contracts/alerts.ts";
import { fail } from "../../../contracts/errors.ts";
import { ACCEPTANCE_MINUTES_DEFAULT } from "../../../contracts/order-status.ts";
import type { OrderStatus } from "../../../contracts/orders.ts";
import { isoTime } from "../../../lib/clock.ts";
import { omitUndefined } from "../../../lib/omit-undefined.ts";
import { orderMessage, refundRequested } from "./order-messages.ts";
import {
  type Actor,
  type ActorKind,
  awaitsNotice,
  type Bearer,
  type Decision,
  type Order,
  type OrderMessage,
  type Refund,
  type Transition,
} from "./order-model.ts";
import { allocateRefund, balanceOf } from "./order-refund.ts";

const MINUTE_MS = 60_000;

interface Move {
  to: OrderStatus;
  /** The actors that may make the move, each with the states in which it may. */
  may: Partial<Record<ActorKind, readonly OrderStatus[]>>;
  message: OrderMessage;
  /** The refund to the customer: the excess over the total, or the whole balance. Absent: none. */
  refunds?: "excess" | "everything";
}

interface Ending {
  by: readonly ("cancel" | "reject" | "expire")[];
  /** The party that bears the order's cost until then. The customer gets everything back in any case. */
  borneBy: Bearer;
}

/**
 * The actors that may end an undelivered order, by the order's state. Before the partner has begun, there is no loss.
 * After that, the actor that ends the order bears the loss: the partner its own, the platform that of an operator. An
 * order that its partner does not accept in time counts as ended by the partner.
 */
export const endings: Partial<Record<OrderStatus, Partial<Record<ActorKind, Ending>>>> = {
  pending: {
    customer: { by: ["cancel"], borneBy: "nobody" },
    admin: { by: ["cancel"], borneBy: "nobody" },
    deadline: { by: ["expire"], borneBy: "nobody" },
  },
  paid: {
    customer: { by: ["cancel"], borneBy: "nobody" },
    partner: { by: ["reject", "cancel"], borneBy: "partner" },
    admin: { by: ["reject", "cancel"], borneBy: "platform" },
    deadline: { by: ["cancel"], borneBy: "partner" },
  },
  preparing: {
    partner: { by: ["reject", "cancel"], borneBy: "partner" },
    admin: { by: ["reject", "cancel"], borneBy: "platform" },
  },
  ready: { admin: { by: ["cancel"], borneBy: "platform" } },
  failed: { admin: { by: ["cancel"], borneBy: "platform" } },
};

/** All moves between states; docs/states.md is generated from this table. */
export const moves = {
  pay: { to: "paid", may: { bank: ["pending"] }, message: "order.paid", refunds: "excess" },
  expire: { to: "expired", may: mayEnd("expire"), message: "order.expired", refunds: "everything" },
  accept: { to: "preparing", may: { partner: ["paid"], admin: ["paid"] }, message: "order.accepted" },
  makeReady: {
    to: "ready",
    may: { partner: ["paid", "preparing"], admin: ["paid", "preparing"] },
    message: "order.ready",
  },
  reject: { to: "cancelled", may: mayEnd("reject"), message: "order.rejected", refunds: "everything" },
  cancel: { to: "cancelled", may: mayEnd("cancel"), message: "order.cancelled", refunds: "everything" },
  // The offers of a ready order, with ASSIGNMENT=offer. The state stays.
  offer: { to: "ready", may: { platform: ["ready"] }, message: "order.offered" },
  decline: { to: "ready", may: { deliverer: ["ready"] }, message: "order.offer_declined" },
  expireOffer: { to: "ready", may: { platform: ["ready"] }, message: "order.offer_expired" },
  openToPool: { to: "ready", may: { platform: ["ready"] }, message: "order.pooled" },
  assign: { to: "delivering", may: { deliverer: ["ready"], admin: ["ready"] }, message: "order.assigned" },
  /** The deliverer has the goods. The state stays; a deliverer can also deliver without this move. */
  pickUp: { to: "delivering", may: { deliverer: ["delivering"] }, message: "order.picked_up" },
  release: {
    to: "ready",
    may: { deliverer: ["delivering"], platform: ["delivering"], admin: ["delivering", "failed"] },
    message: "order.released",
  },
  deliver: {
    to: "delivered",
    may: { deliverer: ["delivering"], admin: ["delivering"] },
    message: "order.delivered",
  },
  fail: {
    to: "failed",
    may: { deliverer: ["delivering"], admin: ["delivering"] },
    message: "order.failed",
  },
} as const satisfies Record<string, Move>;

export type MoveName = keyof typeof moves;

interface Deadline {
  afterMs: number;
  /** The partner's setting, in minutes, that replaces `afterMs`. */
  setting?: "acceptanceMinutes";
  /** The start of the time. Default: the entry into the state. */
  from?: "readyAt" | "partnerNotifiedAt";
  /** Either a move of the order, or an alert that is repeated every `againMs`. */
  action: { move: MoveName; reason: string } | { alert: AlertKind; againMs: number };
  effect: string;
}

/** The deadline of each state. All other states have none. */
export const deadlines = {
  pending: {
    afterMs: 30 * MINUTE_MS,
    action: { move: "expire", reason: "It was not paid in time." },
    effect: "expires; what was paid in part is refunded",
  },
  paid: {
    afterMs: ACCEPTANCE_MINUTES_DEFAULT * MINUTE_MS,
    setting: "acceptanceMinutes",
    from: "partnerNotifiedAt",
    action: { move: "cancel", reason: "The partner did not accept it in time." },
    effect: "is cancelled and refunded, because the partner did not accept",
  },
  preparing: {
    afterMs: 0,
    from: "readyAt",
    action: { alert: "order.not_ready", againMs: 30 * MINUTE_MS },
    effect: "alert: not ready by the promised time",
  },
  ready: {
    afterMs: 15 * MINUTE_MS,
    action: { alert: "order.no_deliverer", againMs: 15 * MINUTE_MS },
    effect: "alert: it is assigned to no deliverer",
  },
  delivering: {
    afterMs: 20 * MINUTE_MS,
    action: { alert: "order.deliverer_silent", againMs: 20 * MINUTE_MS },
    effect: "alert: the deliverer has reported no position",
  },
  failed: {
    afterMs: 60 * MINUTE_MS,
    action: { alert: "order.undeliverable", againMs: 60 * MINUTE_MS },
    effect: "alert: an undeliverable order waits for an operator",
  },
} as const satisfies Partial<Record<OrderStatus, Deadline>>;

/**
 * The deadline of a paid order until its partner is notified. It only raises an alert, because the partner cannot accept
 * an order before the notice.
 */
export const unnotified = {
  afterMs: 2 * MINUTE_MS,
  action: { alert: "order.partner_not_notified", againMs: 10 * MINUTE_MS },
  effect: "alert: the partner has not been notified; the time to accept has not begun",
} as const satisfies Deadline;

/** The decision for a repeat: no change. */
export function unchanged(order: Order): Decision {
  return { next: order, messages: [], refunds: [] };
}

/** The other states that can follow a state, by any actor. */
export function legalNext(status: OrderStatus): OrderStatus[] {
  return [
    ...new Set(
      Object.values<Move>(moves)
        .filter(({ may }) => Object.values(may).some((from) => from.includes(status)))
        .map(({ to }) => to)
        .filter((to) => to !== status),
    ),
  ];
}

/**
 * Makes one of `moves`.
 * @param change further fields of the order; undefined removes a value
 * @throws ILLEGAL_TRANSITION, for a cancellation ORDER_NOT_CANCELLABLE, both with the legal next states
 */
export function move(
  order: Order,
  name: MoveName,
  actor: Actor,
  nowMs: number,
  { reason, ...change }: { [K in keyof Order]?: Order[K] | undefined } = {},
): Decision {
  const { to, may, message, refunds: owed }: Move = moves[name];
  const from = may[actor.kind];
  if (!from?.includes(order.status)) throw name === "cancel" ? notCancellable(order, from) : illegal(order);
  // A move within a state keeps the deadline of the state.
  const stays = to === order.status;
  const moved = omitUndefined({
    ...order,
    status: to,
    version: order.version + 1,
    reason,
    alertedAt: stays ? order.alertedAt : undefined,
    offeredTo: undefined,
    offerUntil: undefined,
    offersTried: undefined,
    pooledAt: undefined,
    lastMove: name,
    lastActor: actor.name,
    closedAt: isFinal(to) ? isoTime(nowMs) : undefined,
    updatedAt: isoTime(nowMs),
    ...change,
  });
  const borneBy = endings[order.status]?.[actor.kind]?.borneBy ?? "nobody";
  const { next, refunds } = allocateRefund(moved, owedMinor(moved, owed), reason ?? `order ${to}`, borneBy);
  return recordTransition(
    order,
    omitUndefined({ ...next, deadlineAt: stays ? order.deadlineAt : deadlineOf(next, nowMs) }),
    message,
    actor,
    {
      reason,
      refunds,
    },
  );
}

/** The decision for a change with a message and a line in the history. The state may stay the same. */
export function recordTransition(
  before: Order,
  next: Order,
  type: Transition["type"],
  actor: Actor,
  { reason, refunds = [] }: { reason?: string | undefined; refunds?: Refund[] } = {},
): Decision {
  const transition: Transition = {
    type,
    from: before.status,
    to: next.status,
    actor,
    ...(reason && { reason }),
  };
  const messages = [
    orderMessage(next, transition, before),
    ...refunds.map((one) => refundRequested(next, one)),
  ];
  return { next, transition, messages, refunds };
}

/** Creates a pending order. @param order the fields that differ between new orders */
export function create(
  order: Pick<Order, "id" | "customer" | "partner" | "lines" | "currency" | "feeMinor" | "totalMinor"> &
    Pick<Order, "number" | "address" | "note" | "bankId">,
  actor: Actor,
  nowMs: number,
): Decision {
  const at = isoTime(nowMs);
  const payBy = isoTime(nowMs + deadlines.pending.afterMs);
  const next: Order = {
    ...order,
    version: 1,
    status: "pending",
    paymentStatus: "unpaid",
    paidMinor: 0,
    refundedMinor: 0,
    refundPendingMinor: 0,
    refundFailedMinor: 0,
    receipts: [],
    payBy,
    deadlineAt: payBy,
    handoverFailures: 0,
    createdAt: at,
    updatedAt: at,
  };
  const transition: Transition = { type: "order.created", to: "pending", actor };
  return { next, transition, messages: [orderMessage(next, transition)], refunds: [] };
}

/** The time of the order's deadline if it enters its present state now; undefined for a state without a deadline. */
export function deadlineOf(order: Order, nowMs: number): string | undefined {
  const deadline = deadlineFor(order);
  if (!deadline) return undefined;
  const { afterMs, setting, from } = deadline;
  const sinceMs = from && order[from] ? Math.max(nowMs, Date.parse(order[from])) : nowMs;
  const minutes = setting && order.partner[setting];
  return isoTime(sinceMs + (minutes === undefined ? afterMs : minutes * MINUTE_MS));
}

/** The deadline of the order's present state; undefined for a state without one. */
export function deadlineFor(order: Order): Deadline | undefined {
  if (!hasDeadline(order.status)) return undefined;
  return awaitsNotice(order) ? unnotified : deadlines[order.status];
}

export function hasDeadline(status: OrderStatus): status is keyof typeof deadlines {
  return Object.hasOwn(deadlines, status);
}

export function isFinal(status: OrderStatus): boolean {
  return legalNext(status).length === 0;
}

/** @returns an ILLEGAL_TRANSITION to throw */
export function illegal(order: Order): Error {
  const legal = legalNext(order.status);
  const next = legal.length > 0 ? `can become ${legal.join(", ")}` : "stays as it is";
  return fail("ILLEGAL_TRANSITION", `The order is ${order.status} and ${next}.`, {
    status: order.status,
    legal,
  });
}

function notCancellable(order: Order, from: readonly OrderStatus[] = []): Error {
  const when =
    from.length > 0 ? `you can cancel while it is ${from.join(" or ")}` : "it is not yours to cancel";
  const data = { status: order.status, legal: legalNext(order.status) };
  return fail("ORDER_NOT_CANCELLABLE", `The order is ${order.status}; ${when}.`, data);
}

function mayEnd(name: Ending["by"][number]): Move["may"] {
  const may: Partial<Record<ActorKind, OrderStatus[]>> = {};
  for (const [status, actors] of Object.entries(endings)) {
    for (const [kind, { by }] of Object.entries(actors)) {
      if (!by.includes(name)) continue;
      may[kind as ActorKind] = [...(may[kind as ActorKind] ?? []), status as OrderStatus];
    }
  }
  return may;
}

function owedMinor(order: Order, owed: Move["refunds"]): number {
  if (!owed) return 0;
  return owed === "everything" ? balanceOf(order) : Math.max(0, balanceOf(order) - order.totalMinor);
}
