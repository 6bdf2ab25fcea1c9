import { isoTime } from "../../../lib/clock.ts";
import { deadlineFor, move } from "./order.ts";
import { orderAlert } from "./order-messages.ts";
import { type Actor, awaitsNotice, type Decision, type Order } from "./order-model.ts";

/**
 * Applies a deadline that has passed: a move of `moves`, or an alert and the next deadline.
 * @param actor of kind `deadline`
 * @param known `positionAt`: the time of the deliverer's last position, from which the deadline counts again;
 *   `noticeProblem`: why the partner of a paid order was not notified yet
 * @returns undefined if the deadline has not passed
 */
export function applyOverdueDeadline(
  order: Order,
  actor: Actor,
  nowMs: number,
  { positionAt, noticeProblem }: { positionAt?: string | undefined; noticeProblem?: string | undefined } = {},
): Decision | undefined {
  const deadline = deadlineFor(order);
  if (!deadline || !order.deadlineAt || Date.parse(order.deadlineAt) > nowMs) return undefined;
  const { action, afterMs, effect } = deadline;
  if ("move" in action) return move(order, action.move, actor, nowMs, { reason: action.reason });
  const updated = { ...order, version: order.version + 1, updatedAt: isoTime(nowMs) };
  const positionDeadlineMs = positionAt ? Date.parse(positionAt) + afterMs : 0;
  if (order.status === "delivering" && positionDeadlineMs > nowMs) {
    return { next: { ...updated, deadlineAt: isoTime(positionDeadlineMs) }, messages: [], refunds: [] };
  }
  const next = {
    ...updated,
    alertedAt: order.alertedAt ?? isoTime(nowMs),
    deadlineAt: isoTime(nowMs + action.againMs),
  };
  const cause = awaitsNotice(order) && noticeProblem ? `: ${noticeProblem}` : "";
  const detail = `The order has been ${order.status} for too long (${effect})${cause}.`;
  return { next, messages: [orderAlert(action.alert, next, detail)], refunds: [] };
}
