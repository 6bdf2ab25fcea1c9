import { alert } from "../../../contracts/alerts.ts";
import { isId } from "../../../lib/ids.ts";
import type { Transaction } from "../../../lib/sql/database.ts";
import { shortenLine } from "../../../lib/text.ts";
import type { OrdersDependencies } from "../dependencies.ts";
import { refundCompleted, refundFailed } from "../domain/order-messages.ts";
import type { Refund } from "../domain/order-model.ts";
import { applyRefundEnd } from "../domain/order-payment.ts";
import { withRefundReopened } from "../domain/order-refund.ts";
import { lockOrder } from "../store/orders.repository.ts";
import { endRefund, findRefund, type RefundEnd } from "../store/payments.repository.ts";
import { loadOrder, saveDecision } from "../store/unit-of-work.ts";
import { inOrderTrace } from "./order-trace.ts";

/** The maximum length of a refund's stored error, in characters. */
export const REFUND_ERROR_MAX_LENGTH = 500;

/**
 * Records the bank's report of a refund's end. The report may arrive before the answer to our request, or long after the
 * completion: the bank reverses a refund to a closed account.
 * @returns false for an unknown refund
 */
export async function recordRefundReport(
  deps: OrdersDependencies,
  trx: Transaction,
  bankId: string,
  { refundId, state }: { refundId: string; state: "completed" | "failed" },
): Promise<boolean> {
  const known = isId(refundId) ? await findRefund(trx, bankId, refundId) : undefined;
  if (!known) return false;
  const error = state === "failed" ? "the bank reports that it failed" : undefined;
  const ended = await settleRefund(deps, trx, known, { state, error });
  if (!ended && state === "failed") await settleRefund(deps, trx, known, { state, error, bounced: true });
  return true;
}

/**
 * Ends a refund in the caller's transaction: its state, the order's sums and the message.
 * @returns false if the refund has ended already
 */
export async function settleRefund(
  deps: OrdersDependencies,
  trx: Transaction,
  { id, orderId, bankId }: { id: string; orderId?: string; bankId: string },
  { error, ...end }: RefundEnd,
): Promise<boolean> {
  const how: RefundEnd = { ...end, error: error && shortenLine(error, REFUND_ERROR_MAX_LENGTH) };
  if (!orderId) return endUnmatched(deps, trx, { id, bankId }, how);
  await lockOrder(trx, orderId); // all transactions lock the order first and then its payments
  const ended = await endRefund(trx, id, how);
  if (!ended) return false;
  const { paymentId, amountMinor, currency, reason, borneBy } = ended;
  const amount = { amountMinor, currency };
  const refund: Refund = { id, paymentId, amount, reason, ...(borneBy && { borneBy }) };
  const { order, nowMs, traceparent } = await loadOrder(trx, orderId, { role: "anybody" });
  const isCompleted = how.state === "completed";
  await inOrderTrace(traceparent, `refund ${how.state}`, async () => {
    if (ended.counted) {
      const open = how.bounced ? withRefundReopened(order, refund) : order;
      await saveDecision(deps, trx, order, applyRefundEnd(open, refund, isCompleted, nowMs, how.error));
    } else {
      const message = isCompleted
        ? refundCompleted(order, refund)
        : refundFailed(order, refund, how.error ?? "");
      await deps.outbox.add(trx, [message]);
    }
  });
  return true;
}

/** Ends the refund of a payment that matches no order. No order's sums change. */
async function endUnmatched(
  { outbox }: OrdersDependencies,
  trx: Transaction,
  { id, bankId }: { id: string; bankId: string },
  how: RefundEnd,
): Promise<boolean> {
  if (!(await endRefund(trx, id, how))) return false;
  if (how.state === "failed") {
    const detail = `Refund ${id} of a payment that fits no order failed: ${how.error || "no reason given"}.`;
    await outbox.add(trx, [alert("refund.failed", detail, { subject: id, under: bankId })]);
  }
  return true;
}
