import type { refundState } from "../../../contracts/payments.ts";
import type { Infer } from "../../../contracts/schema.ts";
import { affected, type Db, row, rows, type Write } from "../../../lib/sql/database.ts";
import { type Lease, leasedQueue } from "../../../lib/sql/leased-queue.ts";
import type { Bearer, Outcome, Payment, Refund } from "../domain/order-model.ts";

export type RefundState = Infer<typeof refundState>;

export interface StoredEvent {
  bankId: string;
  eventId: string;
  bodyHash: string;
  body: string;
  kind: "paid" | "refunded" | "refund_failed" | "failed" | "disputed" | "noted" | "unusable";
  paymentId?: string | undefined;
}

/**
 * Inserts an event of a bank and locks the order that it pays, if that is an order of this bank: each transaction locks
 * the order before the payments, so that two of them never wait for each other.
 * @param orderId a UUID
 * @returns `known`: the same event is stored already; `mismatch`: one with this id and another body is
 */
export async function insertEvent(
  trx: Db,
  event: StoredEvent,
  orderId?: string,
): Promise<"new" | "known" | "mismatch"> {
  const count = await affected(
    trx,
    `WITH locked AS (
       SELECT FROM orders o WHERE o.id = :orderId AND (o.bank_id = :bankId) IS TRUE FOR NO KEY UPDATE)
     INSERT INTO payment_events (bank_id, event_id, body_hash, body, kind, payment_id)
     SELECT :bankId, :eventId, :bodyHash, :body, :kind, :paymentId FROM (SELECT count(*) FROM locked) AS l
     ON CONFLICT (bank_id, event_id) DO NOTHING`,
    { ...event, body: storable(event.body), paymentId: event.paymentId ?? null, orderId: orderId ?? null },
  );
  if (count === 1) return "new";
  const known = await row<{ bodyHash: string }>(
    trx,
    "SELECT body_hash FROM payment_events WHERE bank_id = ? AND event_id = ?",
    [event.bankId, event.eventId],
  );
  return known?.bodyHash === event.bodyHash ? "known" : "mismatch";
}

/**
 * The event and the receipt of a payment, as inserts of `saveOrder`. The statement fails with the code 23505 if the event or
 * the payment is stored already.
 */
export function insertsOfPayment(event: StoredEvent, receipt: NewReceipt): Write {
  const { amount, ...rest } = receipt;
  return {
    sql: `event AS (
       INSERT INTO payment_events (bank_id, event_id, body_hash, body, kind, payment_id)
       SELECT :bankId, :eventId, :bodyHash, :body, :kind, :paymentId FROM saved),
     receipt AS (
       INSERT INTO payment_receipts (id, bank_id, payment_id, event_id, order_id, stated_order, amount_minor, currency,
         outcome)
       SELECT :receiptId, :bankId, :paymentId, :eventId, saved.id, :statedOrder, :amountMinor, :paidCurrency, :outcome
       FROM saved)`,
    bindings: {
      ...{ bankId: event.bankId, eventId: event.eventId, bodyHash: event.bodyHash, kind: event.kind },
      ...{ body: storable(event.body), paymentId: rest.paymentId, receiptId: rest.id },
      ...{ statedOrder: rest.statedOrder, outcome: rest.outcome },
      ...{ amountMinor: amount.amountMinor, paidCurrency: amount.currency },
    },
  };
}

/** PostgreSQL cannot store a NUL, and every verified event must be stored. The hash is that of the original body. */
function storable(body: string): string {
  return body.replaceAll("\0", "\u{fffd}");
}

/** Marks an event that cannot be applied. */
export async function markEventUnusable(trx: Db, bankId: string, eventId: string): Promise<void> {
  const sql =
    "UPDATE payment_events SET kind = 'unusable', updated_at = now() WHERE bank_id = ? AND event_id = ?";
  await affected(trx, sql, [bankId, eventId]);
}

export type NewReceipt = Payment & {
  id: string;
  orderId?: string | undefined;
  statedOrder: string;
  outcome: Outcome;
};

/** Inserts a payment. @returns false if it is stored already, from any event */
export async function insertReceipt(
  trx: Db,
  { amount: { amountMinor, currency }, ...receipt }: NewReceipt,
): Promise<boolean> {
  const count = await affected(
    trx,
    `INSERT INTO payment_receipts (id, bank_id, payment_id, event_id, order_id, stated_order, amount_minor, currency,
       outcome)
     VALUES (:id, :bankId, :paymentId, :eventId, :orderId, :statedOrder, :amountMinor, :currency, :outcome)
     ON CONFLICT (bank_id, payment_id) DO NOTHING`,
    { ...receipt, orderId: receipt.orderId ?? null, amountMinor, currency },
  );
  return count === 1;
}

export async function findReceipt(
  db: Db,
  bankId: string,
  paymentId: string,
): Promise<{ amountMinor: number; currency: string } | undefined> {
  const sql = "SELECT amount_minor, currency FROM payment_receipts WHERE bank_id = ? AND payment_id = ?";
  return row(db, sql, [bankId, paymentId]);
}

/** Enqueues refunds and subtracts each from the rest of its payment. @throws Error for a payment that does not exist */
export async function insertRefunds(
  trx: Db,
  order: { id?: string | undefined; bankId: string },
  refunds: readonly Refund[],
): Promise<void> {
  if (refunds.length === 0) return;
  const count = await affected(
    trx,
    `WITH wanted AS (
       SELECT * FROM jsonb_to_recordset(?::jsonb) AS w(id uuid, "paymentId" text, amount jsonb, reason text,
         "borneBy" text)),
     taken AS (
       UPDATE payment_receipts r
       SET refund_minor = refund_minor + (w.amount ->> 'amountMinor')::bigint, updated_at = now()
       FROM wanted w WHERE r.bank_id = ? AND r.payment_id = w."paymentId"
       RETURNING w.*)
     INSERT INTO refunds (id, order_id, bank_id, payment_id, amount_minor, currency, reason, borne_by)
     SELECT id, ?, ?, "paymentId", (amount ->> 'amountMinor')::bigint, amount ->> 'currency', reason, "borneBy"
     FROM taken`,
    [JSON.stringify(refunds), order.bankId, order.id ?? null, order.bankId],
  );
  if (count !== refunds.length) throw new Error("a refund names a payment that is not there");
}

const refundQueue = leasedQueue({ table: "refunds", dueAt: "next_at", leaseId: "lease_token" });

/** A refund that is leased by a worker. */
export interface ClaimedRefund extends Lease {
  /** Absent if its payment matches no order. */
  orderId?: string;
  bankId: string;
  paymentId: string;
  amountMinor: number;
  currency: string;
  reason: string;
  /** The state before the lease: `sent` means that the previous worker did not finish its attempt. */
  state: "pending" | "sent" | "unknown";
  attempts: number;
  /** That of the order. */
  traceparent?: string;
}

/** The ids of the banks with due refunds. */
export async function dueRefundBanks(db: Db): Promise<string[]> {
  const found = await rows<{ id: string }>(
    db,
    `SELECT b.id FROM banks b WHERE EXISTS (
       SELECT 1 FROM refunds r
       WHERE r.bank_id = b.id AND r.state IN ('pending', 'sent', 'unknown') AND r.next_at <= now())`,
  );
  return found.map(({ id }) => id);
}

/**
 * Leases due refunds of one bank and sets them to `sent`. If a worker finds a refund in this state after the lease, the
 * request may have reached the bank, so it must look the refund up there first.
 */
export async function claimRefunds(
  db: Db,
  claim: { bankId: string; leaseId: string; leaseMs: number; limit: number },
): Promise<ClaimedRefund[]> {
  return rows<ClaimedRefund>(
    db,
    `WITH due AS (
       SELECT id, state FROM refunds
       WHERE bank_id = :bankId AND state IN ('pending', 'sent', 'unknown') AND next_at <= now()
       ORDER BY next_at LIMIT :limit FOR UPDATE SKIP LOCKED)
     UPDATE refunds r SET ${refundQueue.claimed}, state = 'sent', attempts = attempts + 1, updated_at = now()
     FROM due WHERE r.id = due.id
     RETURNING r.id, r.lease_token AS lease_id, r.order_id, r.bank_id, r.payment_id, r.amount_minor, r.currency,
       r.reason, due.state, r.attempts, (SELECT traceparent FROM orders o WHERE o.id = r.order_id)`,
    claim,
  );
}

/**
 * Ends the lease and schedules the next attempt. `state` is `pending` only if the bank certainly has no such refund.
 * @returns false if the lease was lost
 */
export async function releaseRefund(
  db: Db,
  refund: Lease,
  next: { state: "pending" | "sent" | "unknown"; delayMs: number; error: string },
): Promise<boolean> {
  const set = "state = :state, error = :error, updated_at = now()";
  return (await refundQueue.release(db, refund, { set }, next)) !== undefined;
}

/** Marks that an operator was alerted of a stuck refund. @returns false if it was marked before */
export async function markRefundAlerted(trx: Db, id: string): Promise<boolean> {
  const sql = "UPDATE refunds SET alerted = true, updated_at = now() WHERE id = ? AND NOT alerted";
  return (await affected(trx, sql, [id])) === 1;
}

export interface RefundEnd {
  state: "completed" | "failed";
  error?: string | undefined;
  /** The worker's lease. Absent for a report of the bank, which ends the refund in spite of a lease. */
  leaseId?: string | undefined;
  /** The bank has reversed a completed refund. */
  bounced?: boolean;
}

/**
 * Ends a refund. A failed refund returns its amount to the rest of its payment.
 * @returns undefined if the refund has ended already (with `bounced`: is not completed), or the lease was lost
 */
export async function endRefund(trx: Db, id: string, end: RefundEnd): Promise<EndedRefund | undefined> {
  const before = end.bounced ? "'completed'" : "'pending', 'sent', 'unknown'";
  const { leaseId, state, error = null } = end;
  return row<EndedRefund>(
    trx,
    `WITH ended AS (
       UPDATE refunds SET state = :state, error = :error, lease_token = NULL, updated_at = now()
       WHERE ${leaseId === undefined ? "id = :id" : refundQueue.held} AND state IN (${before}) RETURNING *),
     freed AS (
       UPDATE payment_receipts r SET refund_minor = refund_minor - e.amount_minor, updated_at = now()
       FROM ended e WHERE e.state = 'failed' AND r.bank_id = e.bank_id AND r.payment_id = e.payment_id)
     SELECT e.id, e.order_id, e.bank_id, e.payment_id, e.amount_minor, e.currency, e.reason, e.borne_by,
       r.outcome <> 'unmatched' AS counted
     FROM ended e JOIN payment_receipts r USING (bank_id, payment_id)`,
    { id, state, error, ...(leaseId !== undefined && { leaseId }) },
  );
}

export async function findRefund(
  db: Db,
  bankId: string,
  refundId: string,
): Promise<{ id: string; orderId?: string; bankId: string } | undefined> {
  return row(db, "SELECT id, order_id, bank_id FROM refunds WHERE id = ? AND bank_id = ?", [
    refundId,
    bankId,
  ]);
}

export interface EndedRefund extends Omit<ClaimedRefund, "leaseId" | "state" | "attempts"> {
  borneBy?: Bearer;
  /** Whether its payment counts for the order: it was in the order's currency. */
  counted: boolean;
}

export interface ReceiptRow {
  id: string;
  bankId: string;
  paymentId: string;
  eventId: string;
  orderId?: string;
  amountMinor: number;
  currency: string;
  outcome: Outcome;
  at: string;
}

export const RECEIPT = `SELECT id, bank_id, payment_id, event_id, order_id, amount_minor, currency, outcome, created_at AS at
  FROM payment_receipts`;

export async function receiptsOf(db: Db, orderId: string): Promise<ReceiptRow[]> {
  return rows(db, `${RECEIPT} WHERE order_id = ? ORDER BY id`, [orderId]);
}

export interface RefundRow {
  id: string;
  orderId: string;
  bankId: string;
  paymentId: string;
  amountMinor: number;
  currency: string;
  reason: string;
  borneBy?: Bearer;
  state: RefundState;
  error?: string;
  at: string;
}

export const REFUND = `SELECT id, order_id, bank_id, payment_id, amount_minor, currency, reason, borne_by, state, error,
  updated_at AS at FROM refunds`;

export async function refundsOf(db: Db, orderId: string): Promise<RefundRow[]> {
  return rows(db, `${REFUND} WHERE order_id = ? ORDER BY created_at, id`, [orderId]);
}
