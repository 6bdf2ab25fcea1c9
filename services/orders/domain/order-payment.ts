import { fail, invalidField } from "../../../contracts/errors.ts";
import { isoTime } from "../../../lib/clock.ts";
import { AMOUNT_MAX_MINOR, type Money } from "../../../lib/money.ts";
import { move } from "./order.ts";
import { paymentMessage, refundCompleted, refundFailed, refundRequested } from "./order-messages.ts";
import type { Actor, Bearer, Decision, Order, Outcome, Payment, Refund } from "./order-model.ts";
import { keptMinor, refund, settled, withPaymentStatus } from "./order-refund.ts";

/** Whether the order's sums still count exactly with this amount among them. */
export function canCount(order: Order, amount: Money): boolean {
  return order.paidMinor + amount.amountMinor <= AMOUNT_MAX_MINOR;
}

/**
 * What becomes of money that arrived for an order, in the order's currency. Whatever an order cannot use goes
 * back: the excess over its total, and all of what comes when it can no longer be paid or was paid already.
 */
export function receive(
  order: Order,
  payment: Payment,
  actor: Actor,
  nowMs: number,
): Decision & { outcome: Outcome } {
  const { paymentId, amount } = payment;
  const richer = withPaymentStatus({
    ...order,
    paidMinor: order.paidMinor + amount.amountMinor,
    receipts: [...order.receipts, { paymentId, amountMinor: amount.amountMinor, refundMinor: 0 }],
  });
  const { outcome, ...decision } = decide(order, richer, amount.amountMinor, actor, nowMs);
  const told = paymentMessage("payment.received", payment, outcome, decision.next);
  return { ...decision, outcome, messages: [told, ...decision.messages] };
}

function decide(
  order: Order,
  richer: Order,
  amountMinor: number,
  actor: Actor,
  nowMs: number,
): Decision & { outcome: Outcome } {
  if (order.status !== "pending") {
    const isLate = order.status === "cancelled" || order.status === "expired";
    const reason = isLate ? `paid when it was ${order.status}` : "paid more than once";
    const given = refundNow(richer, amountMinor, reason, "nobody", nowMs);
    return { ...given, outcome: isLate ? "late" : "overpaid" };
  }
  const keepsMinor = keptMinor(richer);
  if (keepsMinor < order.totalMinor) {
    const next = { ...richer, version: order.version + 1, updatedAt: isoTime(nowMs) };
    return { next, messages: [], refunds: [], outcome: "underpaid" };
  }
  const paid = move(richer, "pay", actor, nowMs);
  return { ...paid, outcome: keepsMinor > order.totalMinor ? "overpaid" : "accepted" };
}

/**
 * An operator sends money back.
 * @param amount absent: all that is kept
 * @throws VALIDATION_ERROR for another currency or more than is kept, ILLEGAL_TRANSITION while it can be paid
 */
export function refundPayment(
  order: Order,
  amount: Money | undefined,
  reason: string,
  nowMs: number,
): Decision {
  if (order.status === "pending") {
    throw fail("ILLEGAL_TRANSITION", "The order still waits for its payment: cancel it instead.");
  }
  const keptNow = keptMinor(order);
  if (amount && amount.currency !== order.currency) {
    throw invalidField("amount.currency", "currency", `The order is in ${order.currency}.`);
  }
  const amountMinor = amount?.amountMinor ?? keptNow;
  if (amountMinor === 0 || amountMinor > keptNow) {
    throw invalidField("amount.amountMinor", "max", `Between 1 and ${keptNow} can be refunded.`);
  }
  // It takes the place of as much as had failed before.
  const refundFailedMinor = Math.max(0, order.refundFailedMinor - amountMinor);
  return refundNow({ ...order, refundFailedMinor }, amountMinor, reason, "platform", nowMs);
}

/**
 * A refund that failed is asked for once more, out of the same payment.
 * @returns undefined when so much of it is no longer left
 */
export function refundAgain(order: Order, one: Refund, nowMs: number): Decision | undefined {
  const { amountMinor } = one.amount;
  const receipt = order.receipts.find(({ paymentId }) => paymentId === one.paymentId);
  const leftMinor = receipt ? receipt.amountMinor - receipt.refundMinor : 0;
  if (amountMinor > Math.min(leftMinor, keptMinor(order))) return undefined;
  const next = withPaymentStatus({
    ...order,
    version: order.version + 1,
    updatedAt: isoTime(nowMs),
    refundPendingMinor: order.refundPendingMinor + amountMinor,
    refundFailedMinor: Math.max(0, order.refundFailedMinor - amountMinor),
    receipts: order.receipts.map((each) =>
      each === receipt ? { ...each, refundMinor: each.refundMinor + amountMinor } : each,
    ),
  });
  return { next, messages: [refundRequested(next, one)], refunds: [one] };
}

/**
 * The bank has done a refund, or has refused it for good; then an operator is told.
 * @param why the bank's reason, for the operator
 */
export function settle(order: Order, one: Refund, done: boolean, nowMs: number, why = ""): Decision {
  const next = { ...settled(order, one, done), version: order.version + 1, updatedAt: isoTime(nowMs) };
  return { next, messages: [done ? refundCompleted(next, one) : refundFailed(next, one, why)], refunds: [] };
}

function refundNow(
  order: Order,
  amountMinor: number,
  reason: string,
  borneBy: Bearer,
  nowMs: number,
): Decision {
  const newer = { ...order, version: order.version + 1, updatedAt: isoTime(nowMs) };
  const { next, refunds } = refund(newer, amountMinor, reason, borneBy);
  return { next, messages: refunds.map((one) => refundRequested(next, one)), refunds };
}
