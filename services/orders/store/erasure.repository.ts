import { affected, type Db, rows } from "../../../lib/sql/database.ts";

/** What stands in an order where a customer's name stood. */
const NOBODY = "Erased";

export async function insertErasedCustomer(db: Db, customerId: string): Promise<void> {
  await affected(db, "INSERT INTO erased_customers (customer_id) VALUES (?) ON CONFLICT DO NOTHING", [
    customerId,
  ]);
}

/** Ended orders of erased customers that still name them. @param except orders that are left alone now */
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
 * Takes name, phone, address and note out of ended orders. What was bought, what was paid and in which town stays: that
 * is the business's own record. One that is under way still needs them.
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
    [ids, NOBODY, NOBODY],
  );
}

/** Forgets the stored answers to requests of customers who were erased. */
export async function eraseAnswers(db: Db): Promise<void> {
  const sql = "DELETE FROM idempotency_keys k USING erased_customers e WHERE k.user_id = e.customer_id::text";
  await affected(db, sql);
}

/** Forgets whom nothing is left of; tokens of the account have run out by then, so no order can follow. */
export async function sweepErasedCustomers(db: Db, afterHours: number): Promise<void> {
  await affected(
    db,
    `DELETE FROM erased_customers e WHERE e.created_at < now() - ? * interval '1 hour'
       AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = e.customer_id AND o.erased_at IS NULL)`,
    [afterHours],
  );
}
