import type { Knex } from "knex";

/** The lease of a poll, so that a worker whose lease has ended does not overwrite the result of its successor. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE orders ADD COLUMN reconcile_lease uuid");
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE orders DROP COLUMN reconcile_lease");
}
