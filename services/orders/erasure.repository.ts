import { affected, type Db } from "../../mixins/postgres/database.ts";

/** What stands in an order where a customer's name stood. */
const NOBODY = "Erased";

export async function insertErasedCustomer(db: Db, customerId: string): Promise<void> {
  await affected(db, "INSERT INTO erased_customers (customer_id) VALUES (?) ON CONFLICT DO NOTHING", [
    customerId,
  ]);
}

/**
 * Takes name, phone, address and note out of the orders of erased customers that have ended. What was bought, what
 * was paid and in which town stays: that is the business's own record. One that is under way still needs them.
 * @returns how many orders, at most `limit`
 */
export async function eraseEndedOrders(db: Db, limit: number): Promise<number> {
  return affected(
    db,
    `WITH due AS (
       SELECT o.id FROM erased_customers e JOIN orders o ON o.customer_id = e.customer_id
       WHERE o.closed_at IS NOT NULL AND o.erased_at IS NULL LIMIT ? FOR NO KEY UPDATE OF o SKIP LOCKED),
     positions AS (DELETE FROM order_positions p USING due WHERE p.order_id = due.id),
     answers AS (DELETE FROM idempotency_keys k USING erased_customers e WHERE k.user_id = e.customer_id::text)
     UPDATE orders o SET customer_name = ?, customer_phone = NULL, note = NULL,
       address = jsonb_build_object('line1', ?::text, 'postalCode', '-', 'city', o.address->'city',
         'country', o.address->'country'),
       erased_at = now(), version = o.version + 1, updated_at = now()
     FROM due WHERE o.id = due.id`,
    [limit, NOBODY, NOBODY],
  );
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
