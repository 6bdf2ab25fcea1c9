import type { Knex } from "knex";

/** The uses in progress, each as the time after which it no longer counts. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE allowances ADD COLUMN held timestamptz[] NOT NULL DEFAULT '{}'");
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE allowances DROP COLUMN held");
}
