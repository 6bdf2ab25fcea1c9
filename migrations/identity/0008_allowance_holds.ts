import type { Knex } from "knex";

/** Uses that are under way, each as the time at which it is given up for lost. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE allowances ADD COLUMN held timestamptz[] NOT NULL DEFAULT '{}'");
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE allowances DROP COLUMN held");
}
