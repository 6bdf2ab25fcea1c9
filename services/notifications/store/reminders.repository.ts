import { affected, type Db, row, rows } from "../../../lib/sql/database.ts";
import type { Reminder } from "./notifications.repository.ts";

const COUNT_MAX = 1_000;

export interface DueReminder {
  orderId: string;
  version: number;
  step: Reminder["step"];
}

/** Takes the due reminders out of the queue and skips rows that another replica has locked. @returns them */
export async function takeDueReminders(trx: Db, now: string, limit: number): Promise<DueReminder[]> {
  return rows<DueReminder>(
    trx,
    `UPDATE known_orders SET remind_at = NULL, updated_at = now()
     WHERE order_id = ANY (ARRAY(
       SELECT order_id FROM known_orders WHERE remind_at <= ?
       ORDER BY remind_at LIMIT ? FOR UPDATE SKIP LOCKED))
     RETURNING order_id, version, reminder ->> 'step' AS step`,
    [now, limit],
  );
}

/** The reminder that is under way; undefined when the order has changed since, or the step was made. */
export async function openReminder(
  db: Db,
  { orderId, version, step }: DueReminder,
): Promise<Reminder | undefined> {
  const found = await row<{ reminder: Reminder }>(
    db,
    `SELECT reminder FROM known_orders WHERE order_id = ? AND version = ? AND reminder ->> 'step' = ?`,
    [orderId, version, step],
  );
  return found?.reminder;
}

/** Ends a step, and enqueues the next one if there is any. @returns whether the step was still open */
export async function endReminder(
  trx: Db,
  { orderId, version, step }: DueReminder,
  next?: { at: string; step: Reminder["step"] },
): Promise<boolean> {
  const count = await affected(
    trx,
    `UPDATE known_orders SET remind_at = :at::timestamptz, updated_at = now(),
       reminder = reminder || jsonb_build_object('step', :next::text)
     WHERE order_id = :orderId AND version = :version AND reminder ->> 'step' = :step`,
    { orderId, version, step, at: next?.at ?? null, next: next?.step ?? null },
  );
  return count === 1;
}

/** The number of orders that have waited for their reminder longer than `overdueMs`, counted up to 1,000. */
export async function countOverdueReminders(db: Db, overdueMs: number): Promise<number> {
  const counted = await row<{ count: number }>(
    db,
    `SELECT count(*) AS count FROM (
       SELECT 1 FROM known_orders WHERE remind_at < now() - ? * interval '1 millisecond'
       LIMIT ${COUNT_MAX}) AS overdue`,
    [overdueMs],
  );
  return counted?.count ?? 0;
}
