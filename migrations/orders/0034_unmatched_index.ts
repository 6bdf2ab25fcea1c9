import type { Knex } from "knex";

/** Created concurrently, so that payments are accepted meanwhile. This is impossible in a transaction. */
export const config = { transaction: false };

export async function up(knex: Knex): Promise<void> {
  // An interrupted attempt may leave an invalid index.
  await knex.raw("DROP INDEX IF EXISTS payment_receipts_unmatched_idx");
  await knex.raw(
    "CREATE INDEX CONCURRENTLY payment_receipts_unmatched_idx ON payment_receipts (id) WHERE outcome = 'unmatched'",
  );
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("DROP INDEX payment_receipts_unmatched_idx");
}
