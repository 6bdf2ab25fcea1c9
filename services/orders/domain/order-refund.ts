import type { PaymentStatus } from "../../../contracts/orders.ts";
import { derivedId } from "../../../lib/ids.ts";
import type { Bearer, Order, Refund } from "./order-model.ts";

/** The order's balance: the received money without completed and pending refunds. */
export function balanceOf(order: Order): number {
  return order.paidMinor - order.refundedMinor - order.refundPendingMinor;
}

/**
 * Refunds an amount out of the newest payments first, so that an excess returns to the payment that caused it.
 * @param amountMinor at most the balance; 0 has no effect
 */
export function allocateRefund(
  order: Order,
  amountMinor: number,
  reason: string,
  borneBy: Bearer,
): { next: Order; refunds: Refund[] } {
  if (amountMinor > balanceOf(order)) throw new RangeError("a refund cannot exceed the balance");
  const refunds: Refund[] = [];
  let leftMinor = amountMinor;
  const receipts = order.receipts
    .toReversed()
    .map((receipt) => {
      const takenMinor = Math.min(leftMinor, receipt.amountMinor - receipt.refundMinor);
      if (takenMinor === 0) return receipt;
      leftMinor -= takenMinor;
      refunds.push({
        id: derivedId("refund", `${order.id}/${order.version}/${receipt.paymentId}`),
        paymentId: receipt.paymentId,
        amount: { amountMinor: takenMinor, currency: order.currency },
        reason,
        borneBy,
      });
      return { ...receipt, refundMinor: receipt.refundMinor + takenMinor };
    })
    .toReversed();
  const next = {
    ...order,
    receipts,
    refundPendingMinor: order.refundPendingMinor + amountMinor,
    // The money of failed refunds is part of the balance, so it cannot exceed the new balance.
    refundFailedMinor: Math.min(order.refundFailedMinor, balanceOf(order) - amountMinor),
  };
  return { next: withPaymentStatus(next), refunds };
}

/** The order after the end of a refund. */
export function withRefundEnded(order: Order, { paymentId, amount }: Refund, isCompleted: boolean): Order {
  const amountMinor = amount.amountMinor;
  const pending = { ...order, refundPendingMinor: order.refundPendingMinor - amountMinor };
  if (isCompleted) return withPaymentStatus({ ...pending, refundedMinor: order.refundedMinor + amountMinor });
  return withPaymentStatus({
    ...pending,
    refundFailedMinor: order.refundFailedMinor + amountMinor,
    receipts: order.receipts.map((receipt) =>
      receipt.paymentId === paymentId
        ? { ...receipt, refundMinor: receipt.refundMinor - amountMinor }
        : receipt,
    ),
  });
}

/** The order before the completion of a refund that the bank has reversed. */
export function withRefundReopened(order: Order, { amount: { amountMinor } }: Refund): Order {
  return {
    ...order,
    refundedMinor: order.refundedMinor - amountMinor,
    refundPendingMinor: order.refundPendingMinor + amountMinor,
  };
}

export function withPaymentStatus(order: Order): Order {
  return { ...order, paymentStatus: paymentStatusOf(order) };
}

/** A pending refund of an excess does not change that an order is paid. */
function paymentStatusOf(order: Order): PaymentStatus {
  if (order.paidMinor === 0) return "unpaid";
  if (order.refundFailedMinor > 0) return "refund_failed";
  if (balanceOf(order) >= order.totalMinor) return "paid";
  if (order.refundPendingMinor > 0) return "refund_pending";
  if (order.refundedMinor === 0) return "partially_paid";
  return balanceOf(order) === 0 ? "refunded" : "partially_refunded";
}
