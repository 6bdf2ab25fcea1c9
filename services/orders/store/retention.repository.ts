import { affected, type Db, deleteOldest, rows, type Transaction } from "../../../lib/sql/database.ts";

// An order's id is a UUIDv7, so the primary keys and the indexes by order are sorted by age.

export async function prunePositions(db: Db, beforeId: string, limit: number): Promise<number> {
  return deleteOldest(db, "order_positions", "order_id", { before: beforeId, limit });
}

export async function pruneCallbacks(db: Db, beforeId: string, limit: number): Promise<number> {
  return deleteOldest(db, "partner_callbacks", "order_id", { before: beforeId, limit });
}

/** Makes the trigger, which refuses any change of a history, allow deletions in this transaction. */
const ALLOW_REMOVAL = "SELECT set_config('waybill.pruning', 'on', true)";

export async function pruneTransitions(trx: Db, beforeId: string, limit: number): Promise<number> {
  await rows(trx, ALLOW_REMOVAL);
  return deleteOldest(trx, "order_transitions", "order_id", { before: beforeId, limit });
}

export async function pruneEvents(db: Db, beforeAt: string, limit: number): Promise<number> {
  return deleteOldest(db, "payment_events", "created_at", { before: beforeAt, limit });
}

/** Deletes payments that match no order and have no refund. */
export async function pruneUnmatched(db: Db, beforeId: string, limit: number): Promise<number> {
  return affected(
    db,
    `DELETE FROM payment_receipts WHERE ctid = ANY (ARRAY(
       SELECT ctid FROM payment_receipts r
       WHERE outcome = 'unmatched' AND id < ?
         AND NOT EXISTS (SELECT FROM refunds f WHERE f.bank_id = r.bank_id AND f.payment_id = r.payment_id)
       ORDER BY id LIMIT ? FOR UPDATE SKIP LOCKED))`,
    [beforeId, limit],
  );
}

/** Deletes disputes without an order; those of an order are deleted with it. */
export async function pruneDisputes(db: Db, beforeId: string, limit: number): Promise<number> {
  return affected(
    db,
    `DELETE FROM disputes WHERE ctid = ANY (ARRAY(
       SELECT ctid FROM disputes WHERE order_id IS NULL AND id < ? ORDER BY id LIMIT ? FOR UPDATE SKIP LOCKED))`,
    [beforeId, limit],
  );
}

/** Deletes ended orders and their rows in other tables, except orders with a pending refund. @returns their number */
export async function pruneOrders(trx: Transaction, beforeId: string, limit: number): Promise<number> {
  const ended = await rows<{ id: string }>(
    trx,
    // A scalar subquery, because PostgreSQL makes of NOT EXISTS a join that reads the refunds of all orders.
    `SELECT id FROM orders o
     WHERE id < ? AND closed_at IS NOT NULL AND (
       SELECT true FROM refunds WHERE order_id = o.id AND state IN ('pending', 'sent', 'unknown') LIMIT 1) IS NULL
     ORDER BY id LIMIT ? FOR UPDATE SKIP LOCKED`,
    [beforeId, limit],
  );
  if (ended.length === 0) return 0;
  await rows(trx, ALLOW_REMOVAL);
  const ids = ended.map(({ id }) => id);
  for (const table of [
    ...["order_positions", "partner_callbacks", "order_transitions"],
    ...["disputes", "refunds", "payment_receipts", "order_lines"],
  ]) {
    await affected(trx, `DELETE FROM ${table} WHERE order_id = ANY (?::uuid[])`, [ids]);
  }
  return affected(trx, "DELETE FROM orders WHERE id = ANY (?::uuid[])", [ids]);
}
