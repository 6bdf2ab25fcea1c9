import { fail, invalidField } from "../../../contracts/errors.ts";
import { isoTime } from "../../../lib/clock.ts";
import { AMOUNT_MAX_MINOR, type Money } from "../../../lib/money.ts";
import { move } from "./order.ts";
import { paymentMessage, refundCompleted, refundFailed, refundRequested } from "./order-messages.ts";
import type { Actor, Bearer, Decision, Order, Outcome, Payment, Refund } from "./order-model.ts";
import { allocateRefund, balanceOf, withPaymentStatus, withRefundEnded } from "./order-refund.ts";

/** Whether the order's sums stay exact integers after this amount is added. */
export function canCount(order: Order, amount: Money): boolean {
  return order.paidMinor + amount.amountMinor <= AMOUNT_MAX_MINOR;
}

/** Whether this amount is exactly what a pending order still waits for: it moves the order, and nothing is refunded. */
export function completes(order: Order, { amountMinor, currency }: Money): boolean {
  const isAwaited = order.status === "pending" && order.currency === currency;
  return isAwaited && balanceOf(order) + amountMinor === order.totalMinor;
}

/**
 * Applies a payment in the order's currency. The excess over the total is refunded, as is the whole payment if the order
 * is paid already or can no longer be paid.
 */
export function applyPayment(
  order: Order,
  payment: Payment,
  actor: Actor,
  nowMs: number,
): Decision & { outcome: Outcome } {
  const { paymentId, amount } = payment;
  const credited = withPaymentStatus({
    ...order,
    paidMinor: order.paidMinor + amount.amountMinor,
    receipts: [...order.receipts, { paymentId, amountMinor: amount.amountMinor, refundMinor: 0 }],
  });
  const { outcome, ...decision } = decide(order, credited, amount.amountMinor, actor, nowMs);
  const received = paymentMessage("payment.received", payment, outcome, decision.next);
  return { ...decision, outcome, messages: [received, ...decision.messages] };
}

function decide(
  order: Order,
  credited: Order,
  amountMinor: number,
  actor: Actor,
  nowMs: number,
): Decision & { outcome: Outcome } {
  if (order.status !== "pending") {
    const isLate = order.status === "cancelled" || order.status === "expired";
    const reason = isLate ? `paid when it was ${order.status}` : "paid more than once";
    const refunded = refundWithMessages(credited, amountMinor, reason, "nobody", nowMs);
    return { ...refunded, outcome: isLate ? "late" : "overpaid" };
  }
  const balanceMinor = balanceOf(credited);
  if (balanceMinor < order.totalMinor) {
    const next = { ...credited, version: order.version + 1, updatedAt: isoTime(nowMs) };
    return { next, messages: [], refunds: [], outcome: "underpaid" };
  }
  const paid = move(credited, "pay", actor, nowMs);
  return { ...paid, outcome: balanceMinor > order.totalMinor ? "overpaid" : "accepted" };
}

/**
 * An operator refunds money.
 * @param amount default: the whole balance
 * @throws VALIDATION_ERROR for another currency or more than the balance, ILLEGAL_TRANSITION while it is pending
 */
export function refundCustomer(
  order: Order,
  amount: Money | undefined,
  reason: string,
  nowMs: number,
  maxMinor = Number.POSITIVE_INFINITY,
): Decision {
  if (order.status === "pending") {
    throw fail("ILLEGAL_TRANSITION", "The order still waits for its payment: cancel it instead.");
  }
  const balanceMinor = balanceOf(order);
  if (amount && amount.currency !== order.currency) {
    throw invalidField("amount.currency", "currency", `The order is in ${order.currency}.`);
  }
  const amountMinor = amount?.amountMinor ?? balanceMinor;
  if (amountMinor === 0 || amountMinor > balanceMinor) {
    throw invalidField("amount.amountMinor", "max", `Between 1 and ${balanceMinor} can be refunded.`);
  }
  // Counted with the refunds before it, so that several small ones do not pass the limit.
  if (order.refundedMinor + order.refundPendingMinor + amountMinor > maxMinor) throw fail("REFUND_LIMIT");
  // The new refund replaces the same amount of failed refunds.
  const refundFailedMinor = Math.max(0, order.refundFailedMinor - amountMinor);
  return refundWithMessages({ ...order, refundFailedMinor }, amountMinor, reason, "platform", nowMs);
}

/**
 * Repeats a failed refund out of the same payment.
 * @returns undefined if the payment or the balance is too small by now
 */
export function retryFailedRefund(order: Order, repeated: Refund, nowMs: number): Decision | undefined {
  const { amountMinor } = repeated.amount;
  const receipt = order.receipts.find(({ paymentId }) => paymentId === repeated.paymentId);
  const leftMinor = receipt ? receipt.amountMinor - receipt.refundMinor : 0;
  if (amountMinor > Math.min(leftMinor, balanceOf(order))) return undefined;
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
  return { next, messages: [refundRequested(next, repeated)], refunds: [repeated] };
}

/**
 * Applies the end of a refund. A failure alerts an operator.
 * @param isCompleted false: the bank has refused it finally
 * @param reason of the bank, for the operator
 */
export function applyRefundEnd(
  order: Order,
  ended: Refund,
  isCompleted: boolean,
  nowMs: number,
  reason = "",
): Decision {
  const next = {
    ...withRefundEnded(order, ended, isCompleted),
    version: order.version + 1,
    updatedAt: isoTime(nowMs),
  };
  const message = isCompleted ? refundCompleted(next, ended) : refundFailed(next, ended, reason);
  return { next, messages: [message], refunds: [] };
}

function refundWithMessages(
  order: Order,
  amountMinor: number,
  reason: string,
  borneBy: Bearer,
  nowMs: number,
): Decision {
  const updated = { ...order, version: order.version + 1, updatedAt: isoTime(nowMs) };
  const { next, refunds } = allocateRefund(updated, amountMinor, reason, borneBy);
  return { next, messages: refunds.map((one) => refundRequested(next, one)), refunds };
}
