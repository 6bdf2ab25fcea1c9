import { isoTime } from "../../lib/clock.ts";
import { deadlines, hasDeadline, move } from "./order.ts";
import { orderAlert } from "./order-messages.ts";
import type { Actor, Decision, Order } from "./order-model.ts";

/**
 * What a missed deadline comes to: a move of the table, or an alert and the next deadline.
 * @param actor nobody but the deadline itself
 * @param seenAt when the deliverer last reported a position; a deliverer that was seen gets the time from then
 * @returns undefined for an order whose deadline has not come
 */
export function overdue(order: Order, actor: Actor, nowMs: number, seenAt?: string): Decision | undefined {
  if (!order.deadlineAt || Date.parse(order.deadlineAt) > nowMs || !hasDeadline(order.status))
    return undefined;
  const { acts, afterMs, effect } = deadlines[order.status];
  if ("move" in acts) return move(order, acts.move, actor, nowMs, { reason: acts.reason });
  const later = { ...order, version: order.version + 1, updatedAt: isoTime(nowMs) };
  const seenUntilMs = seenAt ? Date.parse(seenAt) + afterMs : 0;
  if (order.status === "delivering" && seenUntilMs > nowMs) {
    return { next: { ...later, deadlineAt: isoTime(seenUntilMs) }, messages: [], refunds: [] };
  }
  const next = {
    ...later,
    alertedAt: order.alertedAt ?? isoTime(nowMs),
    deadlineAt: isoTime(nowMs + acts.againMs),
  };
  const told = orderAlert(acts.alert, next, `The order is ${order.status} since too long (${effect}).`);
  return { next, messages: [told], refunds: [] };
}
