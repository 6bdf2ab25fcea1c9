import { affected, type Db, rows } from "../../../lib/sql/database.ts";

/** Replaces the name of an erased customer. */
const ERASED_NAME = "Erased";

export async function insertErasedCustomer(db: Db, customerId: string): Promise<void> {
  await affected(db, "INSERT INTO erased_customers (customer_id) VALUES (?) ON CONFLICT DO NOTHING", [
    customerId,
  ]);
}

/** Ended orders of erased customers that still contain their data. @param except orders to skip */
export async function dueErasures(db: Db, limit: number, except: readonly string[]): Promise<string[]> {
  const due = await rows<{ id: string }>(
    db,
    `SELECT o.id FROM erased_customers e JOIN orders o ON o.customer_id = e.customer_id
     WHERE o.closed_at IS NOT NULL AND o.erased_at IS NULL AND o.id <> ALL (?::uuid[]) LIMIT ?`,
    [except, limit],
  );
  return due.map(({ id }) => id);
}

/**
 * Removes name, phone, address and note from ended orders. Lines, payments and the town stay as business records. An
 * order that has not ended still needs the data.
 */
export async function eraseOrders(db: Db, ids: readonly string[]): Promise<void> {
  await affected(
    db,
    `WITH due AS (
       SELECT id FROM orders WHERE id = ANY (?::uuid[]) AND closed_at IS NOT NULL AND erased_at IS NULL
       FOR NO KEY UPDATE),
     positions AS (DELETE FROM order_positions p USING due WHERE p.order_id = due.id)
     UPDATE orders o SET customer_name = ?, customer_phone = NULL, note = NULL,
       address = jsonb_build_object('line1', ?::text, 'postalCode', '-', 'city', o.address->'city',
         'country', o.address->'country'),
       erased_at = now(), version = o.version + 1, updated_at = now()
     FROM due WHERE o.id = due.id`,
    [ids, ERASED_NAME, ERASED_NAME],
  );
}

/** Ended orders that still contain the data of their customer. */
export const UNERASED = "closed_at IS NOT NULL AND erased_at IS NULL";

/** Erases the customers of up to `limit` orders that ended before `beforeAt`. @returns the number of orders */
export async function eraseOldOrders(db: Db, beforeAt: string, limit: number): Promise<number> {
  const old = await rows<{ id: string }>(
    db,
    `SELECT id FROM orders WHERE ${UNERASED} AND closed_at < ? ORDER BY closed_at LIMIT ?
     FOR NO KEY UPDATE SKIP LOCKED`,
    [beforeAt, limit],
  );
  if (old.length > 0) {
    await eraseOrders(
      db,
      old.map(({ id }) => id),
    );
  }
  return old.length;
}

/** Deletes the stored answers to requests of erased customers. */
export async function deleteStoredAnswers(db: Db): Promise<void> {
  const sql = "DELETE FROM idempotency_keys k USING erased_customers e WHERE k.user_id = e.customer_id::text";
  await affected(db, sql);
}

/**
 * Deletes the entries of erased customers without unerased orders. After `afterHours` the account's tokens have
 * expired, so no new order can follow.
 */
export async function pruneErasedCustomers(db: Db, afterHours: number): Promise<void> {
  await affected(
    db,
    `DELETE FROM erased_customers e WHERE e.created_at < now() - ? * interval '1 hour'
       AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = e.customer_id AND o.erased_at IS NULL)`,
    [afterHours],
  );
}
