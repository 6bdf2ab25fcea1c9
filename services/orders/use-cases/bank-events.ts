import { createHash } from "node:crypto";
import { alert } from "../../../contracts/alerts.ts";
import { fail } from "../../../contracts/errors.ts";
import { derivedId, isId, newId } from "../../../lib/ids.ts";
import type { Transaction } from "../../../lib/sql/database.ts";
import { commitWithMessages } from "../../../mixins/outbox/commit-with-messages.ts";
import type { BankEvent, Verdict } from "../../../providers/banks/index.ts";
import type { OrdersDependencies } from "../dependencies.ts";
import { paymentMessage, refundRequested } from "../domain/order-messages.ts";
import type { Order, Payment, Refund } from "../domain/order-model.ts";
import { applyPayment, canCount, completes } from "../domain/order-payment.ts";
import { findOrder, type LoadedOrder, saveOrder } from "../store/orders.repository.ts";
import {
  findReceipt,
  insertEvent,
  insertReceipt,
  insertRefunds,
  insertsOfPayment,
  markEventUnusable,
  type StoredEvent,
} from "../store/payments.repository.ts";
import { retryOnConflict, saveDecision } from "../store/unit-of-work.ts";
import { recordDispute } from "./dispute-reports.ts";
import { actorInTrace, inOrderTrace } from "./order-trace.ts";
import { recordRefundReport } from "./refund-settlement.ts";

/** PostgreSQL's code for a value that a unique index holds already. */
const UNIQUE_VIOLATION = "23505";

/**
 * Records an event of a bank, from a callback or a poll, and applies its effect once, in one transaction.
 * @param body the raw report
 * @returns whether the event had an effect
 * @throws EVENT_MISMATCH for a known event id with another body
 */
export async function recordBankEvent(
  deps: OrdersDependencies,
  bankId: string,
  body: string,
  verdict: Exclude<Verdict, { kind: "refused" }>,
): Promise<boolean> {
  const bodyHash = createHash("sha256").update(body).digest("hex");
  const event = verdict.kind === "event" ? verdict.event : undefined;
  const { eventId } = verdict.kind === "event" ? verdict.event : verdict;
  const kind = verdict.kind === "event" ? verdict.event.kind : verdict.kind;
  const about = verdict.kind === "disputed" ? verdict.dispute : event;
  const row = { bankId, eventId, bodyHash, body, kind, paymentId: about?.paymentId };
  const paidOrder = event?.kind === "paid" && isId(event.orderId) ? event.orderId : undefined;
  return retryOnConflict(deps, event?.orderId ?? eventId, async (locked) => {
    if (!locked && paidOrder && event && (await recordExpectedPayment(deps, row, paidOrder, event))) {
      return true;
    }
    return deps.postgres.transact(async (trx) => {
      const inserted = await insertEvent(trx, row, paidOrder);
      if (inserted === "mismatch") throw fail("EVENT_MISMATCH");
      if (inserted === "known") return false;
      if (verdict.kind === "unusable") await alertUnusable(deps, trx, bankId, eventId, verdict.reason);
      if (verdict.kind === "disputed") await recordDispute(deps, trx, bankId, verdict.dispute);
      if (event?.kind === "paid") return recordPayment(deps, trx, bankId, event);
      if (event?.kind === "refunded" || event?.kind === "refund_failed") {
        await recordRefundEvent(deps, trx, bankId, event);
      }
      return true;
    });
  });
}

/**
 * Records a payment of exactly what its order waits for, as almost all are, in one statement.
 * @returns false for every other payment, and where another one came first: nothing is recorded then
 */
async function recordExpectedPayment(
  deps: OrdersDependencies,
  row: StoredEvent,
  orderId: string,
  event: BankEvent,
): Promise<boolean> {
  const { bankId } = row;
  const { db } = deps.postgres;
  const found = await findOrder(db, orderId, { role: "bank", bankId });
  if (!found || !completes(found.order, event.amount)) return false;
  const { order, nowMs, traceparent } = found;
  return inOrderTrace(traceparent, "payment received", async () => {
    const payment: Payment = { bankId, ...event };
    const decision = applyPayment(order, payment, actorInTrace("bank", `bank:${bankId}`), nowMs);
    const { outcome, messages } = decision;
    const inserts = insertsOfPayment(row, { ...payment, id: newId(), statedOrder: event.orderId, outcome });
    try {
      return await commitWithMessages(deps.outbox, messages, (rows) =>
        saveOrder(db, order, decision, rows, inserts),
      );
    } catch (error) {
      if ((error as { code?: string }).code === UNIQUE_VIOLATION) return false;
      throw error;
    }
  });
}

async function recordRefundEvent(
  deps: OrdersDependencies,
  trx: Transaction,
  bankId: string,
  { kind, refundId = "", paymentId }: BankEvent,
): Promise<void> {
  const state = kind === "refunded" ? "completed" : "failed";
  if (await recordRefundReport(deps, trx, bankId, { refundId, state })) return;
  const detail = `Bank ${bankId} reports the refund ${refundId} of payment ${paymentId} (${state}): it is not ours.`;
  await deps.outbox.add(trx, [alert("refund.unknown", detail, { subject: refundId, under: bankId })]);
}

async function recordPayment(
  deps: OrdersDependencies,
  trx: Transaction,
  bankId: string,
  event: BankEvent,
): Promise<boolean> {
  const payment: Payment = { bankId, ...event };
  const found = await orderOf(trx, bankId, event.orderId);
  if (!found || found.order.currency !== event.amount.currency) {
    return recordUnmatched(deps, trx, payment, event.orderId, found?.order);
  }
  return inOrderTrace(found.traceparent, "payment received", async () => {
    const { order, nowMs } = found;
    if (!canCount(order, payment.amount)) return rejectUncountable(deps, trx, payment, order.id);
    const decision = applyPayment(order, payment, actorInTrace("bank", `bank:${bankId}`), nowMs);
    const row = { ...payment, id: newId(), orderId: order.id, statedOrder: event.orderId };
    if (await insertReceipt(trx, { ...row, outcome: decision.outcome })) {
      await saveDecision(deps, trx, order, decision);
      return true;
    }
    return compareWithFirstReport(deps, trx, payment);
  });
}

/** Alerts an operator of an amount beyond the range of the order's sums. No customer pays such an amount. */
async function rejectUncountable(
  deps: OrdersDependencies,
  trx: Transaction,
  { bankId, eventId, paymentId, amount }: Payment,
  orderId: string,
): Promise<true> {
  await markEventUnusable(trx, bankId, eventId);
  const sum = `${amount.amountMinor} ${amount.currency} (minor units)`;
  const reason = `payment ${paymentId} of ${sum} is more than the books of order ${orderId} can count`;
  await alertUnusable(deps, trx, bankId, eventId, reason);
  return true;
}

async function orderOf(trx: Transaction, bankId: string, orderId: string): Promise<LoadedOrder | undefined> {
  if (!isId(orderId)) return undefined;
  // Only orders of this bank: otherwise the secret of one bank could pay the orders of all banks.
  return findOrder(trx, orderId, { role: "bank", bankId });
}

/** Records a payment that matches no order, and alerts. A payment in another currency than its order is refunded. */
async function recordUnmatched(
  deps: OrdersDependencies,
  trx: Transaction,
  payment: Payment,
  statedOrder: string,
  order?: Order,
): Promise<boolean> {
  const { bankId, paymentId, amount } = payment;
  const row = { ...payment, id: newId(), orderId: order?.id, statedOrder };
  if (!(await insertReceipt(trx, { ...row, outcome: "unmatched" }))) {
    return compareWithFirstReport(deps, trx, payment);
  }
  await deps.outbox.add(trx, [paymentMessage("payment.unmatched", payment, "unmatched", order)]);
  const sum = `Payment ${paymentId} of ${amount.amountMinor} ${amount.currency} (minor units)`;
  if (!order) {
    const detail = `${sum} at bank ${bankId} names the order ${statedOrder}, which does not exist.`;
    await deps.outbox.add(trx, [alert("payment.unmatched", detail, { subject: paymentId, under: bankId })]);
    return true;
  }
  const refund: Refund = {
    id: derivedId("refund", `${bankId}/${paymentId}`),
    paymentId,
    amount,
    reason: "paid in another currency",
    borneBy: "nobody",
  };
  await insertRefunds(trx, order, [refund]);
  await deps.outbox.add(trx, [refundRequested(order, refund)]);
  trx.committed.then(deps.wakeRefunds, () => undefined);
  const detail = `${sum} for order ${order.id} is refunded: the order is in ${order.currency}.`;
  await deps.outbox.add(trx, [alert("payment.unmatched", detail, { subject: paymentId, under: order.id })]);
  return true;
}

/** Handles a further event about a known payment: alerts if the amount differs from the first event. */
async function compareWithFirstReport(
  deps: OrdersDependencies,
  trx: Transaction,
  payment: Payment,
): Promise<false> {
  const { bankId, paymentId, amount } = payment;
  const known = await findReceipt(trx, bankId, paymentId);
  if (known?.amountMinor === amount.amountMinor && known.currency === amount.currency) return false;
  const detail = `Payment ${paymentId} at bank ${bankId} was first ${known?.amountMinor} ${known?.currency}, now ${amount.amountMinor} ${amount.currency} (minor units).`;
  await deps.outbox.add(trx, [alert("payment.contradiction", detail, { subject: paymentId, under: bankId })]);
  return false;
}

/** Alerts an operator of a verified event that cannot be applied. */
async function alertUnusable(
  { outbox }: Pick<OrdersDependencies, "outbox">,
  trx: Transaction,
  bankId: string,
  eventId: string,
  reason: string,
): Promise<void> {
  const detail = `Event ${eventId} of bank ${bankId}: ${reason}.`;
  await outbox.add(trx, [alert("payment.unusable", detail, { subject: eventId, under: bankId })]);
}
