import { isoTime } from "../../../lib/clock.ts";
import { deadlineFor, move } from "./order.ts";
import { orderAlert } from "./order-messages.ts";
import { type Actor, awaitsNotice, type Decision, type Order } from "./order-model.ts";

/**
 * What a missed deadline comes to: a move of the table, or an alert and the next deadline.
 * @param actor nobody but the deadline itself
 * @param seen when the deliverer last reported a position (a deliverer that was seen gets the time from then), and why
 *   the partner of a paid order was not notified yet
 * @returns undefined for an order whose deadline has not come
 */
export function overdue(
  order: Order,
  actor: Actor,
  nowMs: number,
  { positionAt, noticeProblem }: { positionAt?: string | undefined; noticeProblem?: string | undefined } = {},
): Decision | undefined {
  const deadline = deadlineFor(order);
  if (!deadline || !order.deadlineAt || Date.parse(order.deadlineAt) > nowMs) return undefined;
  const { acts, afterMs, effect } = deadline;
  if ("move" in acts) return move(order, acts.move, actor, nowMs, { reason: acts.reason });
  const later = { ...order, version: order.version + 1, updatedAt: isoTime(nowMs) };
  const seenUntilMs = positionAt ? Date.parse(positionAt) + afterMs : 0;
  if (order.status === "delivering" && seenUntilMs > nowMs) {
    return { next: { ...later, deadlineAt: isoTime(seenUntilMs) }, messages: [], refunds: [] };
  }
  const next = {
    ...later,
    alertedAt: order.alertedAt ?? isoTime(nowMs),
    deadlineAt: isoTime(nowMs + acts.againMs),
  };
  const why = awaitsNotice(order) && noticeProblem ? `: ${noticeProblem}` : "";
  const told = orderAlert(
    acts.alert,
    next,
    `The order has been ${order.status} for too long (${effect})${why}.`,
  );
  return { next, messages: [told], refunds: [] };
}
