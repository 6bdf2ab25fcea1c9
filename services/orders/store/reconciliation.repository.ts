import { type Db, row, rows, rowsPlannedAnew } from "../../../lib/sql/database.ts";
import { type Lease, leasedQueue } from "../../../lib/sql/leased-queue.ts";
import type { BookedPayment, PollSubject } from "../domain/order-reconciliation.ts";

/** The predicate of the index of unpaid orders. */
const UNPAID = "o.status IN ('pending', 'cancelled', 'expired') AND o.reconcile_at";
/** The predicate of the index of paid orders, which may have a second payment. */
const PAID =
  "o.paid_at IS NOT NULL AND o.status NOT IN ('pending', 'cancelled', 'expired') AND o.reconcile_at";

export interface DueBank {
  id: string;
  /** The number of consecutive failures to answer. */
  failures: number;
  /** The time of the last answer about any order. */
  answeredAt?: string;
}

/** The banks with due polls, without those that wait for a retry. */
export async function dueBanks(db: Db): Promise<DueBank[]> {
  return rows<DueBank>(
    db,
    `SELECT b.id, coalesce(c.failures, 0) AS failures, c.answered_at FROM banks b LEFT JOIN bank_contacts c ON c.bank_id = b.id
     WHERE (c.retry_at IS NULL OR c.retry_at <= now())
       AND (EXISTS (SELECT 1 FROM orders o WHERE o.bank_id = b.id AND ${UNPAID} <= now())
         OR EXISTS (SELECT 1 FROM orders o WHERE o.bank_id = b.id AND ${PAID} <= now()))`,
  );
}

const pollQueue = leasedQueue({ table: "orders", dueAt: "reconcile_at", leaseId: "reconcile_lease" });

/** A leased poll for one order. */
export interface ClaimedPoll extends PollSubject, Lease {
  checkoutRef?: string;
  /** The time of the first poll about it without an answer. */
  failedAt?: string;
}

/**
 * Leases due polls of one bank, those of unpaid orders first, so that the number of paid orders does not delay them.
 * After a crash of the worker, the lease ends and another worker takes them.
 */
export async function claimPolls(
  db: Db,
  claim: { bankId: string; leaseId: string; leaseMs: number; limit: number },
): Promise<ClaimedPoll[]> {
  const due = (which: string) => `
    SELECT o.id FROM orders o WHERE o.bank_id = :bankId AND ${which} <= now()
    ORDER BY o.reconcile_at LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED`;
  return rowsPlannedAnew<ClaimedPoll>(
    db,
    `WITH due AS (
       SELECT id FROM (${due(UNPAID)}) AS unpaid UNION ALL SELECT id FROM (${due(PAID)}) AS paid LIMIT :limit)
     UPDATE orders o SET ${pollQueue.claimed}, reconcile_looks = reconcile_looks + 1
     FROM due WHERE o.id = due.id RETURNING o.id, o.reconcile_lease AS lease_id, o.status, o.checkout_ref, o.created_at,
       o.paid_at, o.reconcile_failed_at AS failed_at`,
    claim,
  );
}

/** If the order was paid during the poll, the payment has already set the time of its next poll. */
const unlessPaid = (at: string) => `CASE WHEN (paid_at IS NULL) = :isUnpaid THEN ${at} ELSE reconcile_at END`;

/** Records the bank's answer. @param end `nextAt` absent: there is no further poll; `error`: the bank's refusal */
export async function endPoll(
  db: Db,
  poll: Lease & Pick<ClaimedPoll, "paidAt">,
  end: { nextAt?: string | undefined; error?: string | undefined },
): Promise<void> {
  const dueAt = unlessPaid(":nextAt::timestamptz");
  const set =
    "reconcile_error = :error, reconciled_at = now(), reconcile_failures = 0, reconcile_failed_at = NULL";
  const bindings = {
    isUnpaid: poll.paidAt === undefined,
    nextAt: end.nextAt ?? null,
    error: end.error ?? null,
  };
  await pollQueue.release(db, poll, { set, dueAt }, bindings);
}

/** Records a poll without an answer; it is repeated after `delayMs`. */
export async function postponePoll(
  db: Db,
  poll: Lease & Pick<ClaimedPoll, "paidAt">,
  delayMs: number,
  error: string,
): Promise<void> {
  const dueAt = unlessPaid("now() + :delayMs * interval '1 millisecond'");
  const set = "reconcile_error = :error, reconcile_failed_at = coalesce(reconcile_failed_at, now())";
  await pollQueue.release(db, poll, { set, dueAt }, { isUnpaid: poll.paidAt === undefined, delayMs, error });
}

/**
 * Records a poll that failed on our side; it is repeated after `delayMs`, doubled with each failure, up to `maxMs`.
 * @returns the number of consecutive failures, including this one, and the order's version
 */
export async function recordPollFailure(
  db: Db,
  poll: Lease,
  retry: { delayMs: number; maxMs: number; error: string },
): Promise<{ failures: number; version: number } | undefined> {
  const dueAt = `now() + least(:delayMs * power(2, least(reconcile_failures, 20)), :maxMs) * interval '1 millisecond'`;
  const set = "reconcile_failures = reconcile_failures + 1, reconcile_error = :error";
  return pollQueue.release(
    db,
    poll,
    { set, dueAt, returning: "reconcile_failures AS failures, version" },
    retry,
  );
}

/** The payments of an order in our books. */
export async function bookedPayments(db: Db, orderId: string): Promise<BookedPayment[]> {
  const found = await rows<Omit<BookedPayment, "amount"> & { amountMinor: number; currency: string }>(
    db,
    `SELECT r.payment_id, r.amount_minor, r.currency, r.created_at AS at,
       coalesce(sum(f.amount_minor) FILTER (WHERE f.state = 'completed'), 0)::bigint AS refunded_minor,
       coalesce(sum(f.amount_minor) FILTER (WHERE f.state IN ('pending', 'sent', 'unknown')), 0)::bigint
         AS refund_open_minor
     FROM payment_receipts r LEFT JOIN refunds f USING (bank_id, payment_id)
     WHERE r.order_id = ? GROUP BY r.id`,
    [orderId],
  );
  return found.map(({ amountMinor, currency, ...one }) => ({ ...one, amount: { amountMinor, currency } }));
}

/** Records an answer of the bank. @returns whether the last poll had no answer, and the time of this answer */
export async function recordBankAnswer(
  db: Db,
  bankId: string,
): Promise<{ wasSilent: boolean; answeredAt: string }> {
  const found = await row<{ failures: number; answeredAt: string }>(
    db,
    `WITH before AS (SELECT failures FROM bank_contacts WHERE bank_id = ?)
     INSERT INTO bank_contacts (bank_id, answered_at) VALUES (?, now())
     ON CONFLICT (bank_id) DO UPDATE SET failures = 0, answered_at = now(), silent_since = NULL, retry_at = NULL,
       error = NULL, alerted = false, updated_at = now()
     RETURNING coalesce((SELECT failures FROM before), 0) AS failures, answered_at`,
    [bankId, bankId],
  );
  if (!found) throw new Error("the bank's answer was not recorded");
  return { wasSilent: found.failures > 0, answeredAt: found.answeredAt };
}

/** Records that the bank has not answered. @returns the number of consecutive failures, including this one */
export async function recordBankFailure(
  db: Db,
  bankId: string,
  { delayMs, error }: { delayMs: number; error: string },
): Promise<number> {
  const contact = await row<{ failures: number }>(
    db,
    `INSERT INTO bank_contacts AS c (bank_id, failures, silent_since, retry_at, error)
     VALUES (?, 1, now(), now() + ? * interval '1 millisecond', ?)
     ON CONFLICT (bank_id) DO UPDATE SET failures = c.failures + 1, error = excluded.error,
       silent_since = coalesce(c.silent_since, now()), retry_at = excluded.retry_at, updated_at = now()
     RETURNING c.failures`,
    [bankId, delayMs, error],
  );
  return (contact as { failures: number }).failures;
}

/**
 * Marks that an operator was alerted of a bank that does not answer.
 * @returns the time of the first failure; undefined if `afterMs` has not passed since, or it was marked before
 */
export async function markBankAlerted(trx: Db, bankId: string, afterMs: number): Promise<string | undefined> {
  const found = await row<{ since: string }>(
    trx,
    `UPDATE bank_contacts SET alerted = true, updated_at = now()
     WHERE bank_id = ? AND NOT alerted AND silent_since <= now() - ? * interval '1 millisecond'
     RETURNING silent_since AS since`,
    [bankId, afterMs],
  );
  return found?.since;
}

export interface BankContact {
  bankId: string;
  answeredAt?: string;
  silentSince?: string;
  retryAt?: string;
  error?: string;
}

export async function bankContacts(db: Db): Promise<BankContact[]> {
  return rows(db, "SELECT bank_id, answered_at, silent_since, retry_at, error FROM bank_contacts");
}

/** The last contact with one bank; undefined before the first. */
export async function bankContact(db: Db, bankId: string): Promise<BankContact | undefined> {
  return row(
    db,
    "SELECT bank_id, answered_at, silent_since, retry_at, error FROM bank_contacts WHERE bank_id = ?",
    [bankId],
  );
}

export interface OrderReconciliation {
  nextAt?: string;
  looks: number;
  answeredAt?: string;
  error?: string;
}

/** The polls for an order, as the diagnosis shows them. */
export async function reconciliationOf(db: Db, orderId: string): Promise<OrderReconciliation | undefined> {
  return row(
    db,
    `SELECT CASE WHEN status IN ('pending', 'cancelled', 'expired') OR paid_at IS NOT NULL THEN reconcile_at END
         AS next_at,
       reconcile_looks AS looks, reconciled_at AS answered_at, reconcile_error AS error
     FROM orders WHERE id = ?`,
    [orderId],
  );
}

/** The number of polls that are overdue by `lateMs`; counted per bank, because the indexes begin with the bank. */
export async function countOverduePolls(db: Db, lateMs: number): Promise<number> {
  const counted = await row<{ count: number }>(
    db,
    `SELECT coalesce(sum(late.count), 0)::integer AS count
     FROM banks b CROSS JOIN LATERAL (
       SELECT count(*) FROM orders o
       WHERE o.bank_id = b.id AND ${UNPAID} <= now() - ? * interval '1 millisecond'
       UNION ALL
       SELECT count(*) FROM orders o
       WHERE o.bank_id = b.id AND ${PAID} <= now() - ? * interval '1 millisecond') AS late`,
    [lateMs, lateMs],
  );
  return (counted as { count: number }).count;
}
