import type { Knex } from "knex";

// Indexes are created concurrently with writes.
export const config = { transaction: false };

/** One expression, so that PostgreSQL cannot choose another index of ready orders and read all of them. */
const DUE_AT =
  "CASE WHEN status = 'ready' AND pooled_at IS NULL THEN coalesce(offer_until, '-infinity'::timestamptz) END";

/**
 * A courier has one offer at a time, which the unique index guards. The offers that are due, and ready orders without an
 * offer yet: the row is its own work queue. The couriers nearest to a partner.
 */
const INDEXES = {
  orders_offered_to_key: "UNIQUE INDEX|orders (offered_to) WHERE offered_to IS NOT NULL",
  orders_offers_due_idx: `INDEX|orders ((${DUE_AT})) WHERE (${DUE_AT}) IS NOT NULL`,
  couriers_place_idx: "INDEX|couriers USING gist (map_point(latitude, longitude)) WHERE latitude IS NOT NULL",
};

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE orders ADD COLUMN IF NOT EXISTS offered_to uuid, ADD COLUMN IF NOT EXISTS offer_until timestamptz,
      ADD COLUMN IF NOT EXISTS offers_tried uuid[], ADD COLUMN IF NOT EXISTS pooled_at timestamptz
  `);
  for (const [name, definition] of Object.entries(INDEXES)) {
    const [kind, on] = definition.split("|");
    // An interrupted attempt leaves an invalid index.
    await knex.raw(`DROP INDEX CONCURRENTLY IF EXISTS ${name}`);
    await knex.raw(`CREATE ${kind} CONCURRENTLY ${name} ON ${on}`);
  }
}

export async function down(knex: Knex): Promise<void> {
  for (const name of Object.keys(INDEXES)) await knex.raw(`DROP INDEX CONCURRENTLY IF EXISTS ${name}`);
  await knex.raw(`
    ALTER TABLE orders DROP COLUMN offered_to, DROP COLUMN offer_until, DROP COLUMN offers_tried, DROP COLUMN pooled_at
  `);
}
