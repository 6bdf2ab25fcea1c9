import type { Knex } from "knex";

// The index is created concurrently with writes.
export const config = { transaction: false };

/** Ended orders that still contain the data of their customer, the one that ended first at the beginning. */
const INDEX = "orders_unerased_idx";

export async function up(knex: Knex): Promise<void> {
  // An interrupted attempt leaves an invalid index.
  await knex.raw(`DROP INDEX CONCURRENTLY IF EXISTS ${INDEX}`);
  await knex.raw(
    `CREATE INDEX CONCURRENTLY ${INDEX} ON orders (closed_at) WHERE closed_at IS NOT NULL AND erased_at IS NULL`,
  );
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`DROP INDEX CONCURRENTLY IF EXISTS ${INDEX}`);
}
