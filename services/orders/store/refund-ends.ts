import type { Knex } from "knex";
import { alert } from "../../../contracts/alerts.ts";
import { isId } from "../../../lib/ids.ts";
import { shortenLine } from "../../../lib/text.ts";
import type { OrdersDependencies } from "../dependencies.ts";
import { refundCompleted, refundFailed } from "../domain/order-messages.ts";
import type { Refund } from "../domain/order-model.ts";
import { settle } from "../domain/order-payment.ts";
import { reopened } from "../domain/order-refund.ts";
import { inOrderTrace } from "./order-trace.ts";
import { lockOrder } from "./orders.repository.ts";
import { type EndOfRefund, endRefund, findRefund } from "./payments.repository.ts";
import { commit, load } from "./unit-of-work.ts";

/** The most characters of an error that is stored with a refund. */
export const REFUND_ERROR_MAX_LENGTH = 500;

/**
 * The bank itself reports what became of a refund, perhaps before it answered the request for it, or long after it had
 * called it done: an account that is closed sends the money back.
 * @returns false when it is none of ours
 */
export async function refundReported(
  deps: OrdersDependencies,
  trx: Knex.Transaction,
  bankId: string,
  { refundId, state }: { refundId: string; state: "completed" | "failed" },
): Promise<boolean> {
  const known = isId(refundId) ? await findRefund(trx, bankId, refundId) : undefined;
  if (!known) return false;
  const error = state === "failed" ? "the bank reports that it failed" : undefined;
  const ended = await endRefundIn(deps, trx, known, { state, error });
  if (!ended && state === "failed") await endRefundIn(deps, trx, known, { state, error, bounced: true });
  return true;
}

/**
 * Ends a refund: its state, its order's sums and the message, in the caller's transaction.
 * @returns false when the refund had ended before
 */
export async function endRefundIn(
  deps: OrdersDependencies,
  trx: Knex.Transaction,
  { id, orderId, bankId }: { id: string; orderId?: string; bankId: string },
  { error, ...end }: EndOfRefund,
): Promise<boolean> {
  const how: EndOfRefund = { ...end, error: error && shortenLine(error, REFUND_ERROR_MAX_LENGTH) };
  if (!orderId) return endUnmatched(deps, trx, { id, bankId }, how);
  await lockOrder(trx, orderId); // in the order in which everybody locks: the order, then its payments
  const ended = await endRefund(trx, id, how);
  if (!ended) return false;
  const { paymentId, amountMinor, currency, reason, borneBy } = ended;
  const amount = { amountMinor, currency };
  const refund: Refund = { id, paymentId, amount, reason, ...(borneBy && { borneBy }) };
  const { order, nowMs, traceparent } = await load(trx, orderId, { role: "anybody" });
  const done = how.state === "completed";
  await inOrderTrace(traceparent, `refund ${how.state}`, async () => {
    if (ended.counted) {
      const open = how.bounced ? reopened(order, refund) : order;
      await commit(deps, trx, order, settle(open, refund, done, nowMs, how.error));
    } else {
      const told = done ? refundCompleted(order, refund) : refundFailed(order, refund, how.error ?? "");
      await deps.outbox.add(trx, [told]);
    }
  });
  return true;
}

/** The refund of a payment that fits no order changes no order's sums. */
async function endUnmatched(
  { outbox }: OrdersDependencies,
  trx: Knex.Transaction,
  { id, bankId }: { id: string; bankId: string },
  how: EndOfRefund,
): Promise<boolean> {
  if (!(await endRefund(trx, id, how))) return false;
  if (how.state === "failed") {
    const detail = `Refund ${id} of a payment that fits no order failed: ${how.error || "no reason given"}.`;
    await outbox.add(trx, [alert("refund.failed", detail, { subject: id, under: bankId })]);
  }
  return true;
}
