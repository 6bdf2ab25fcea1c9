import { type Db, row, rows } from "../../../lib/sql/database.ts";

/** Orders whose deadline has passed, the longest overdue first, without those that wait for a retry. */
export async function dueOrders(db: Db, limit: number): Promise<string[]> {
  const found = await rows<{ id: string }>(
    db,
    `SELECT id FROM orders
     WHERE deadline_at <= now() AND (deadline_retry_at IS NULL OR deadline_retry_at <= now())
     ORDER BY deadline_at LIMIT ?`,
    [limit],
  );
  return found.map(({ id }) => id);
}

/** The reason why the partner of a paid order is not notified yet, as far as this database shows. */
export async function noticeProblemOf(db: Db, orderId: string): Promise<string> {
  const unsent = await row<{ attempts: number; error?: string; since: string }>(
    db,
    `SELECT attempts, error, created_at AS since FROM outbox
     WHERE subject = ? AND type = 'order.paid' AND sent_at IS NULL AND attempts = 0
     UNION ALL
     SELECT attempts, error, created_at AS since FROM outbox
     WHERE subject = ? AND type = 'order.paid' AND sent_at IS NULL AND attempts > 0
     LIMIT 1`,
    [orderId, orderId],
  );
  if (!unsent) return "order.paid was sent, but Partners has not reported since";
  const { attempts, error = "not tried yet", since } = unsent;
  return `order.paid has been waiting in the outbox of Orders since ${since} (${attempts} tries: ${error})`;
}

/** A failure to apply a deadline that has passed. */
export interface DeadlineFailure {
  /** The number of failures in a row, including this one. */
  failures: number;
  version: number;
}

/**
 * Records that a deadline could not be applied. The deadline stays, so that the order shows as overdue. It is retried
 * after `delayMs`, doubled with each failure, up to `maxMs`.
 * @returns undefined if the order is no longer overdue
 */
export async function recordDeadlineFailure(
  db: Db,
  id: string,
  { delayMs, maxMs, error }: { delayMs: number; maxMs: number; error: string },
): Promise<DeadlineFailure | undefined> {
  return row<DeadlineFailure>(
    db,
    `UPDATE orders SET deadline_failures = deadline_failures + 1, deadline_error = ?,
       deadline_retry_at = now()
         + least(? * power(2, least(deadline_failures, 20)), ?) * interval '1 millisecond'
     WHERE id = ? AND deadline_at <= now()
     RETURNING deadline_failures AS failures, version`,
    [error, delayMs, maxMs, id],
  );
}

export interface DeadlineProblem {
  id: string;
  failures: number;
  error?: string;
  retryAt?: string;
}

/** The failures of these orders' deadlines; none for an order without failures. */
export async function deadlineProblems(db: Db, ids: readonly string[]): Promise<DeadlineProblem[]> {
  return rows<DeadlineProblem>(
    db,
    `SELECT id, deadline_failures AS failures, deadline_error AS error, deadline_retry_at AS retry_at
     FROM orders WHERE id = ANY (?::uuid[]) AND deadline_failures > 0`,
    [ids],
  );
}

/** Locks an order whose deadline has passed, unless it is locked already. @returns whether it is locked now */
export async function lockDueOrder(trx: Db, id: string): Promise<boolean> {
  const sql = "SELECT id FROM orders WHERE id = ? AND deadline_at <= now() FOR NO KEY UPDATE SKIP LOCKED";
  return (await row(trx, sql, [id])) !== undefined;
}
