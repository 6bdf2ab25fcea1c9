import type { Knex } from "knex";

/** How often a try was begun without its outcome being recorded: it must not be made for ever. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE webhook_deliveries ADD COLUMN claims integer NOT NULL DEFAULT 0;
    ALTER TABLE webhook_deliveries ADD CONSTRAINT webhook_deliveries_claims_count CHECK (claims >= 0) NOT VALID;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE webhook_deliveries DROP COLUMN claims");
}
