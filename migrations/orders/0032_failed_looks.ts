import type { Knex } from "knex";

/**
 * The time since which polls of this order fail. It distinguishes a failure of one order from one of the whole bank.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE orders ADD COLUMN reconcile_failed_at timestamptz");
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE orders DROP COLUMN reconcile_failed_at");
}
