import type { AlertKind } from "../../../contracts/alerts.ts";
import { fail } from "../../../contracts/errors.ts";
import { ACCEPTANCE_MS, type OrderStatus } from "../../../contracts/orders.ts";
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
import { keptMinor, refund } from "./order-refund.ts";

const MINUTE_MS = 60_000;

interface Move {
  to: OrderStatus;
  /** Who may make it, and out of which states. */
  may: Partial<Record<ActorKind, readonly OrderStatus[]>>;
  tells: OrderMessage;
  /** What goes back to the customer: nothing, what was paid beyond the total, or all that was not refunded. */
  refunds?: "excess" | "everything";
}

interface Ending {
  by: readonly ("cancel" | "reject" | "expire")[];
  /** Who bears what the order has cost until then: all that was paid goes back in any case. */
  bears: Bearer;
}

/**
 * Who may end an order before it is delivered, by the state that it is in. Nobody has lost anything before the
 * partner has begun; from then on whoever ends it bears the loss: the partner its own, the platform that of an
 * operator's decision. A partner that lets the time pass has ended it by that.
 */
export const endings: Partial<Record<OrderStatus, Partial<Record<ActorKind, Ending>>>> = {
  pending: {
    customer: { by: ["cancel"], bears: "nobody" },
    admin: { by: ["cancel"], bears: "nobody" },
    deadline: { by: ["expire"], bears: "nobody" },
  },
  paid: {
    customer: { by: ["cancel"], bears: "nobody" },
    partner: { by: ["reject", "cancel"], bears: "partner" },
    admin: { by: ["cancel"], bears: "platform" },
    deadline: { by: ["cancel"], bears: "partner" },
  },
  preparing: {
    partner: { by: ["reject", "cancel"], bears: "partner" },
    admin: { by: ["cancel"], bears: "platform" },
  },
  ready: { admin: { by: ["cancel"], bears: "platform" } },
  failed: { admin: { by: ["cancel"], bears: "platform" } },
};

/** Every way from one state to another; docs/states.md is drawn from here. */
export const moves = {
  pay: { to: "paid", may: { bank: ["pending"] }, tells: "order.paid", refunds: "excess" },
  expire: { to: "expired", may: mayEnd("expire"), tells: "order.expired", refunds: "everything" },
  accept: { to: "preparing", may: { partner: ["paid"], admin: ["paid"] }, tells: "order.accepted" },
  makeReady: {
    to: "ready",
    may: { partner: ["paid", "preparing"], admin: ["paid", "preparing"] },
    tells: "order.ready",
  },
  reject: { to: "cancelled", may: mayEnd("reject"), tells: "order.rejected", refunds: "everything" },
  cancel: { to: "cancelled", may: mayEnd("cancel"), tells: "order.cancelled", refunds: "everything" },
  claim: { to: "delivering", may: { deliverer: ["ready"], admin: ["ready"] }, tells: "order.assigned" },
  release: {
    to: "ready",
    may: { deliverer: ["delivering"], platform: ["delivering"], admin: ["delivering", "failed"] },
    tells: "order.released",
  },
  deliver: {
    to: "delivered",
    may: { deliverer: ["delivering"], admin: ["delivering"] },
    tells: "order.delivered",
  },
  giveUp: {
    to: "failed",
    may: { deliverer: ["delivering"], admin: ["delivering"] },
    tells: "order.failed",
  },
} as const satisfies Record<string, Move>;

export type MoveName = keyof typeof moves;

interface Deadline {
  afterMs: number;
  /** What the time counts from, where that is not the entry into the state. */
  from?: "readyAt" | "partnerNotifiedAt";
  /** Either the order moves, or an operator is told, and again after as long as `againMs`. */
  acts: { move: MoveName; reason: string } | { alert: AlertKind; againMs: number };
  effect: string;
}

/** What happens when an order waits too long; states that are not here do not wait. */
export const deadlines = {
  pending: {
    afterMs: 30 * MINUTE_MS,
    acts: { move: "expire", reason: "It was not paid in time." },
    effect: "expires; what was paid in part is refunded",
  },
  paid: {
    afterMs: ACCEPTANCE_MS,
    from: "partnerNotifiedAt",
    acts: { move: "cancel", reason: "The partner did not accept it in time." },
    effect: "is cancelled and refunded, because the partner did not accept",
  },
  preparing: {
    afterMs: 0,
    from: "readyAt",
    acts: { alert: "order.not_ready", againMs: 30 * MINUTE_MS },
    effect: "alert: not ready by the promised time",
  },
  ready: {
    afterMs: 15 * MINUTE_MS,
    acts: { alert: "order.no_deliverer", againMs: 15 * MINUTE_MS },
    effect: "alert: no deliverer has claimed it",
  },
  delivering: {
    afterMs: 20 * MINUTE_MS,
    acts: { alert: "order.deliverer_silent", againMs: 20 * MINUTE_MS },
    effect: "alert: the deliverer has reported no position",
  },
  failed: {
    afterMs: 60 * MINUTE_MS,
    acts: { alert: "order.undeliverable", againMs: 60 * MINUTE_MS },
    effect: "alert: an undeliverable order waits for an operator",
  },
} as const satisfies Partial<Record<OrderStatus, Deadline>>;

/**
 * Until the partner is notified, a paid order has this deadline instead of its own: the partner cannot accept an order
 * that it does not know, so nothing but an alert may happen.
 */
export const unnotified = {
  afterMs: 2 * MINUTE_MS,
  acts: { alert: "order.partner_not_notified", againMs: 10 * MINUTE_MS },
  effect: "alert: the partner has not been notified; the time to accept has not begun",
} as const satisfies Deadline;

/** The answer to a repeat: the order as it is. */
export function unchanged(order: Order): Decision {
  return { next: order, messages: [], refunds: [] };
}

/** The states that can follow a state, by whoever. */
export function legalNext(status: OrderStatus): OrderStatus[] {
  return [
    ...new Set(
      Object.values<Move>(moves)
        .filter(({ may }) => Object.values(may).some((from) => from.includes(status)))
        .map(({ to }) => to),
    ),
  ];
}

/**
 * Makes one move of the table.
 * @param change what the order keeps of it besides its state; undefined takes a value away
 * @throws ILLEGAL_TRANSITION, for a cancellation ORDER_NOT_CANCELLABLE, both naming the legal next states
 */
export function move(
  order: Order,
  name: MoveName,
  actor: Actor,
  nowMs: number,
  { reason, ...change }: { [K in keyof Order]?: Order[K] | undefined } = {},
): Decision {
  const { to, may, tells, refunds: owed }: Move = moves[name];
  const from = may[actor.kind];
  if (!from?.includes(order.status)) throw name === "cancel" ? notCancellable(order, from) : illegal(order);
  const moved = omitUndefined({
    ...order,
    status: to,
    version: order.version + 1,
    reason,
    alertedAt: undefined,
    lastMove: name,
    lastActor: actor.name,
    closedAt: isFinal(to) ? isoTime(nowMs) : undefined,
    updatedAt: isoTime(nowMs),
    ...change,
  });
  const borneBy = endings[order.status]?.[actor.kind]?.bears ?? "nobody";
  const { next, refunds } = refund(moved, owedMinor(moved, owed), reason ?? `order ${to}`, borneBy);
  return decided(order, omitUndefined({ ...next, deadlineAt: deadlineOf(next, nowMs) }), tells, actor, {
    reason,
    refunds,
  });
}

/** A change that is told and kept in the history without leaving the state. */
export function decided(
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
  const messages = [orderMessage(next, transition), ...refunds.map((one) => refundRequested(next, one))];
  return { next, transition, messages, refunds };
}

/** The order that a confirmed quote begins with. @param order everything but what is always the same */
export function create(
  order: Pick<Order, "id" | "customer" | "partner" | "lines" | "currency" | "feeMinor" | "totalMinor"> &
    Pick<Order, "address" | "note" | "bankId">,
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

/** When the state that the order is in ends by itself; undefined for one that does not wait. */
export function deadlineOf(order: Order, nowMs: number): string | undefined {
  const deadline = deadlineFor(order);
  if (!deadline) return undefined;
  const { afterMs, from } = deadline;
  const sinceMs = from && order[from] ? Math.max(nowMs, Date.parse(order[from])) : nowMs;
  return isoTime(sinceMs + afterMs);
}

/** The deadline of the order's present state, and what follows it; undefined for a state without one. */
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

/** @returns ILLEGAL_TRANSITION, to be thrown */
export function illegal(order: Order): Error {
  const legal = legalNext(order.status);
  const ways = legal.length > 0 ? `can become ${legal.join(", ")}` : "stays as it is";
  return fail("ILLEGAL_TRANSITION", `The order is ${order.status} and ${ways}.`, {
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
  return owed === "everything" ? keptMinor(order) : Math.max(0, keptMinor(order) - order.totalMinor);
}
