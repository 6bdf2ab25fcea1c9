import type { Params, Result } from "../../../contracts/actions.ts";
import { fail, invalidField } from "../../../contracts/errors.ts";
import type { Ctx } from "../../../contracts/meta.ts";
import type { OrderView } from "../../../contracts/orders.ts";
import { derivedId, newId } from "../../../lib/ids.ts";
import { omitUndefined } from "../../../lib/omit-undefined.ts";
import type { Transaction } from "../../../lib/sql/database.ts";
import { shorten } from "../../../lib/text.ts";
import { callerOf } from "../../../mixins/caller/caller.ts";
import { audit } from "../../../mixins/outbox/audit.ts";
import { idempotent } from "../../../mixins/postgres/idempotency.ts";
import type { OrdersDependencies } from "../dependencies.ts";
import { refundRequested } from "../domain/order-messages.ts";
import type { Refund } from "../domain/order-model.ts";
import { applyPayment, canCount, retryFailedRefund } from "../domain/order-payment.ts";
import { insertRefunds } from "../store/payments.repository.ts";
import { loadOrder, retryOnConflict, saveDecision } from "../store/unit-of-work.ts";
import {
  assignReceipt,
  type FoundRefund,
  findAnyRefund,
  lockReceipt,
  type ReceivedPayment,
  type UnmatchedRow,
  unmatchedPayments,
} from "../store/unmatched-payments.repository.ts";
import { actorInTrace } from "../use-cases/order-trace.ts";
import { beforeOf, pageOf } from "./pages.ts";
import { viewOf } from "./views.ts";

const REASON_MAX_LENGTH = 500;

type RefundView = Result<"orders.refundPayment">;

/** Payments that match no order and were not refunded yet. */
export async function listUnmatched(
  { postgres }: OrdersDependencies,
  ctx: Ctx<Params<"orders.listUnmatched">>,
): Promise<Result<"orders.listUnmatched">> {
  callerOf(ctx, "finance", "admin");
  const { cursor, limit } = ctx.params;
  return pageOf(
    (rowLimit) => unmatchedPayments(postgres.db, { before: beforeOf(cursor), limit: rowLimit }),
    limit,
    unmatchedView,
  );
}

/**
 * An operator refunds a payment that matches no order.
 * @throws NOT_FOUND, PAYMENT_SETTLED if it belongs to an order, or has a refund already
 */
export function refundPayment(
  deps: OrdersDependencies,
  ctx: Ctx<Params<"orders.refundPayment">>,
): Promise<RefundView> {
  const caller = callerOf(ctx, "finance", "admin");
  const { receiptId, reason } = ctx.params;
  return idempotent(deps.postgres, ctx, "orders.refundPayment", async (trx) => {
    const payment = requireUnsettled(await lockReceipt(trx, receiptId));
    const amount = { amountMinor: payment.amountMinor, currency: payment.currency };
    const refund: Refund = {
      id: newId(),
      paymentId: payment.paymentId,
      amount,
      reason: withAuthor(reason, caller.id),
      borneBy: "nobody",
    };
    await audit(deps.outbox, trx, ctx, receiptId);
    return enqueueRefund(deps, trx, payment, refund);
  });
}

/**
 * An operator assigns an unmatched payment to an order. The effect is the same as if the bank had named that order.
 * @throws NOT_FOUND, PAYMENT_SETTLED, VALIDATION_ERROR for an order of another bank or currency, ORDER_CHANGED
 */
export function assignPayment(
  deps: OrdersDependencies,
  ctx: Ctx<Params<"orders.assignPayment">>,
): Promise<OrderView> {
  callerOf(ctx, "finance", "admin");
  const { receiptId, orderId, reason } = ctx.params;
  return retryOnConflict(deps, orderId, () =>
    idempotent(deps.postgres, ctx, "orders.assignPayment", async (trx) => {
      const { order, nowMs } = await loadOrder(trx, orderId, { role: "anybody" }, true);
      const { bankId, paymentId, eventId, amountMinor, currency } = requireUnsettled(
        await lockReceipt(trx, receiptId),
      );
      if (order.bankId !== bankId)
        throw invalidField("orderId", "bank", "The order is paid at another bank.");
      if (order.currency !== currency) {
        throw invalidField("orderId", "currency", `The order is in ${order.currency}.`);
      }
      const amount = { amountMinor, currency };
      if (!canCount(order, amount)) throw invalidField("orderId", "max", "Its sums cannot count so much.");
      const payment = { bankId, paymentId, eventId, amount };
      const decision = applyPayment(order, payment, actorInTrace("bank", `bank:${bankId}`), nowMs);
      if (!(await assignReceipt(trx, receiptId, { orderId, outcome: decision.outcome }))) throw settled();
      await audit(deps.outbox, trx, ctx, receiptId, `to order ${orderId}: ${reason}`);
      return viewOf(await saveDecision(deps, trx, order, decision));
    }),
  );
}

/**
 * An operator repeats a failed refund of the same payment. A repeat of the call finds the same new refund.
 * @throws NOT_FOUND, PAYMENT_SETTLED if the refund has not failed, or nothing is left of its payment
 */
export async function retryRefund(
  deps: OrdersDependencies,
  ctx: Ctx<Params<"orders.retryRefund">>,
): Promise<RefundView> {
  const caller = callerOf(ctx, "finance", "admin");
  const { refundId, reason } = ctx.params;
  return retryOnConflict(deps, refundId, (locked) =>
    idempotent(deps.postgres, ctx, "orders.retryRefund", async (trx) => {
      const failed = await findAnyRefund(trx, refundId);
      if (!failed) throw fail("NOT_FOUND", "There is no such refund.");
      const id = derivedId("refund", `${refundId}/retry`);
      const isMatched = failed.outcome !== "unmatched";
      const found =
        isMatched && (await loadOrder(trx, failed.orderId as string, { role: "anybody" }, locked));
      const payment = isMatched ? undefined : await lockReceipt(trx, failed.receiptId);
      // This read follows that of the order or the receipt, so a concurrent repeat has either changed those already or
      // inserted its refund.
      const existing = await findAnyRefund(trx, id);
      if (existing) return refundView(existing);
      if (failed.state !== "failed") throw fail("PAYMENT_SETTLED", `The refund is ${failed.state}.`);
      const { paymentId, amountMinor, currency, borneBy } = failed;
      const amount = { amountMinor, currency };
      const refund: Refund = {
        id,
        paymentId,
        amount,
        reason: withAuthor(reason, caller.id),
        ...omitUndefined({ borneBy }),
      };
      await audit(deps.outbox, trx, ctx, refundId);
      if (!found) return enqueueRefund(deps, trx, requireUnsettled(payment), refund);
      const decision = retryFailedRefund(found.order, refund, found.nowMs);
      if (!decision) throw settled();
      await saveDecision(deps, trx, found.order, decision);
      return refundView({ ...failed, id, reason: refund.reason, state: "pending" });
    }),
  );
}

/** The payment, if it is unmatched and has no refund. @throws NOT_FOUND, PAYMENT_SETTLED */
function requireUnsettled(payment: ReceivedPayment | undefined): ReceivedPayment {
  if (!payment) throw fail("NOT_FOUND", "There is no such payment.");
  if (payment.outcome !== "unmatched" || payment.refundMinor > 0) throw settled();
  return payment;
}

/** Enqueues the refund of an unmatched payment. A message is sent only if the payment names an order. */
async function enqueueRefund(
  deps: OrdersDependencies,
  trx: Transaction,
  { bankId, orderId }: ReceivedPayment,
  refund: Refund,
): Promise<RefundView> {
  await insertRefunds(trx, { id: orderId, bankId }, [refund]);
  if (orderId) {
    const { order } = await loadOrder(trx, orderId, { role: "anybody" });
    await deps.outbox.add(trx, [refundRequested(order, refund)]);
  }
  trx.committed.then(deps.wakeRefunds, () => undefined);
  const { id, paymentId, amount, reason } = refund;
  return omitUndefined({ id, orderId, bankId, paymentId, amount, state: "pending" as const, reason });
}

function settled(): Error {
  return fail("PAYMENT_SETTLED");
}

/** The reason with its author. A long reason is shortened, the author never. */
export function withAuthor(reason: string, callerId: string): string {
  const author = ` (by ${callerId})`;
  return shorten(reason, REASON_MAX_LENGTH - author.length) + author;
}

function refundView({ id, orderId, bankId, paymentId, amountMinor, currency, state, reason }: FoundRefund) {
  return omitUndefined({ id, orderId, bankId, paymentId, amount: { amountMinor, currency }, state, reason });
}

function unmatchedView({ refundId, refundState, refundError, ...payment }: UnmatchedRow) {
  const { id, bankId, paymentId, orderId, statedOrder, amountMinor, currency, at } = payment;
  const refund =
    refundId && refundState && omitUndefined({ id: refundId, state: refundState, error: refundError });
  const amount = { amountMinor, currency };
  return omitUndefined({
    id,
    bankId,
    paymentId,
    orderId,
    statedOrder,
    amount,
    at,
    refund: refund || undefined,
  });
}
