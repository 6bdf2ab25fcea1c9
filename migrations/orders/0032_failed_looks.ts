import type { Knex } from "knex";

/** Since when a bank has not answered about this order: by it, one order is told from a bank that answers nobody. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE orders ADD COLUMN reconcile_failed_at timestamptz");
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE orders DROP COLUMN reconcile_failed_at");
}
