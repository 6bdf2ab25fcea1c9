import type { Knex } from "knex";

// The index is created concurrently with writes.
export const config = { transaction: false };

/**
 * The short number of an order, unique for its partner and the UTC day of the confirmation. Orders of earlier releases have
 * none. The index also finds orders by their number, of one partner or of all.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE orders ADD COLUMN IF NOT EXISTS number text");
  await knex.raw("ALTER TABLE orders DROP CONSTRAINT IF EXISTS orders_number_length");
  // Not validated: no row has a value yet, and reading them all would lock the table.
  await knex.raw(
    "ALTER TABLE orders ADD CONSTRAINT orders_number_length CHECK (length(number) BETWEEN 1 AND 12) NOT VALID",
  );
  await knex.raw("DROP INDEX CONCURRENTLY IF EXISTS orders_number_key");
  await knex.raw(`CREATE UNIQUE INDEX CONCURRENTLY orders_number_key
    ON orders (number, partner_id, ((created_at AT TIME ZONE 'UTC')::date)) WHERE number IS NOT NULL`);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("DROP INDEX CONCURRENTLY IF EXISTS orders_number_key");
  await knex.raw("ALTER TABLE orders DROP COLUMN IF EXISTS number");
}
