import type { Knex } from "knex";

/** A suspended operator gets no alerts. A column with a constant default needs no rewrite of the table. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE recipients ADD COLUMN suspended boolean NOT NULL DEFAULT false");
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE recipients DROP COLUMN suspended");
}
