import type { Knex } from "knex";

export async function up(knex: Knex): Promise<void> {
  await knex.raw(
    "CREATE INDEX recipients_deleted_idx ON recipients (deleted_at) WHERE deleted_at IS NOT NULL",
  );
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("DROP INDEX recipients_deleted_idx");
}
