import type { Knex } from "knex";

/** The times when opening hours and pause were set, by the sender's clock. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE partners ADD COLUMN hours_set_at timestamptz, ADD COLUMN busy_set_at timestamptz
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE partners DROP COLUMN hours_set_at, DROP COLUMN busy_set_at");
}
