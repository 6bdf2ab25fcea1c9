import { affected, type Db, row, rows } from "../../../lib/sql/database.ts";

/** A lock per user, so that assignments to a user and the end of this user's role never run concurrently. */
export const DELIVERER_LOCK = "hashtextextended('deliverer ' || ?::text, 0)";

/** Records that a user is no longer a deliverer, unless a newer version is stored. Waits for running assignments. */
export async function addFormerDeliverer(trx: Db, userId: string, version: number): Promise<void> {
  await row(trx, `SELECT pg_advisory_xact_lock(${DELIVERER_LOCK})`, [userId]);
  await affected(
    trx,
    `INSERT INTO former_deliverers AS f (user_id, version) VALUES (?, ?)
     ON CONFLICT (user_id) DO UPDATE SET version = excluded.version, updated_at = now()
     WHERE f.version < excluded.version`,
    [userId, version],
  );
}

/** Records that the user is a deliverer again. */
export async function removeFormerDeliverer(trx: Db, userId: string, version: number): Promise<void> {
  await affected(trx, "DELETE FROM former_deliverers WHERE user_id = ? AND version < ?", [userId, version]);
}

/** Deletes entries of users whose tokens have expired. */
export async function pruneFormerDeliverers(db: Db, afterHours: number): Promise<void> {
  const sql = "DELETE FROM former_deliverers WHERE updated_at < now() - ? * interval '1 hour'";
  await affected(db, sql, [afterHours]);
}

/** The ids of the orders that a deliverer is delivering. */
export async function ordersInDelivery(db: Db, delivererId: string): Promise<string[]> {
  const sql = "SELECT id FROM orders WHERE deliverer_id = ? AND status = 'delivering' ORDER BY id";
  return (await rows<{ id: string }>(db, sql, [delivererId])).map(({ id }) => id);
}

/** A customer's orders that have not ended, the oldest first. */
export async function openOrdersOf(db: Db, customerId: string, limit: number): Promise<string[]> {
  const sql = "SELECT id FROM orders WHERE customer_id = ? AND closed_at IS NULL ORDER BY id LIMIT ?";
  return (await rows<{ id: string }>(db, sql, [customerId, limit])).map(({ id }) => id);
}

/** Whether a customer has deleted their account. */
export async function isErasedCustomer(db: Db, customerId: string): Promise<boolean> {
  const sql = "SELECT 1 AS found FROM erased_customers WHERE customer_id = ?";
  return (await row(db, sql, [customerId])) !== undefined;
}
