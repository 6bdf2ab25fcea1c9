import type { Knex } from "knex";

/** The number of times that an attempt was started without a recorded outcome, which limits its repeats. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE webhook_deliveries ADD COLUMN claims integer NOT NULL DEFAULT 0;
    ALTER TABLE webhook_deliveries ADD CONSTRAINT webhook_deliveries_claims_count CHECK (claims >= 0) NOT VALID;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE webhook_deliveries DROP COLUMN claims");
}
