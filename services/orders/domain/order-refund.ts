import type { PaymentStatus } from "../../../contracts/orders.ts";
import { derivedId } from "../../../lib/ids.ts";
import type { Bearer, Order, Refund } from "./order-model.ts";

/** What we hold of the customer's money: received, neither refunded nor promised back. */
export function keptMinor(order: Order): number {
  return order.paidMinor - order.refundedMinor - order.refundPendingMinor;
}

/**
 * Sends money back, out of the newest payments first, so that what was too much returns to where it came from.
 * @param amountMinor at most what is kept; 0: nothing happens
 */
export function refund(
  order: Order,
  amountMinor: number,
  reason: string,
  borneBy: Bearer,
): { next: Order; refunds: Refund[] } {
  if (amountMinor === 0) return { next: withPaymentStatus(order), refunds: [] };
  if (amountMinor > keptMinor(order)) throw new RangeError("more than what is kept cannot be refunded");
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
    // What failed before is still ours; once all has been asked for again, nothing of it is.
    refundFailedMinor: Math.min(order.refundFailedMinor, keptMinor(order) - amountMinor),
  };
  return { next: withPaymentStatus(next), refunds };
}

/** The bank has done or refused a refund of this order. */
export function settled(order: Order, { paymentId, amount }: Refund, done: boolean): Order {
  const amountMinor = amount.amountMinor;
  const pending = { ...order, refundPendingMinor: order.refundPendingMinor - amountMinor };
  if (done) return withPaymentStatus({ ...pending, refundedMinor: order.refundedMinor + amountMinor });
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

/** The order as it was before a refund was done: the bank says that it did not arrive after all. */
export function reopened(order: Order, { amount: { amountMinor } }: Refund): Order {
  return {
    ...order,
    refundedMinor: order.refundedMinor - amountMinor,
    refundPendingMinor: order.refundPendingMinor + amountMinor,
  };
}

export function withPaymentStatus(order: Order): Order {
  return { ...order, paymentStatus: paymentStatusOf(order) };
}

/** An excess that is on its way back does not make a paid order any less paid. */
function paymentStatusOf(order: Order): PaymentStatus {
  if (order.paidMinor === 0) return "unpaid";
  if (order.refundFailedMinor > 0) return "refund_failed";
  if (keptMinor(order) >= order.totalMinor) return "paid";
  if (order.refundPendingMinor > 0) return "refund_pending";
  if (order.refundedMinor === 0) return "partially_paid";
  return keptMinor(order) === 0 ? "refunded" : "partially_refunded";
}
