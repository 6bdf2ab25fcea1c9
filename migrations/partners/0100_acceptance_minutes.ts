import type { Knex } from "knex";

/** The time to accept an order as a setting of the partner. A webhook message has that of its order. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE partners ADD COLUMN acceptance_minutes integer NOT NULL DEFAULT 10;
    -- Not validated: all rows have the default, and reading them would lock the table.
    ALTER TABLE partners ADD CONSTRAINT partners_acceptance_minutes_range
      CHECK (acceptance_minutes BETWEEN 2 AND 60) NOT VALID;
    ALTER TABLE webhook_messages ADD COLUMN acceptance_minutes integer;
    ALTER TABLE webhook_messages ADD CONSTRAINT webhook_messages_acceptance_minutes_range
      CHECK (acceptance_minutes BETWEEN 2 AND 60) NOT VALID;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE webhook_messages DROP COLUMN acceptance_minutes;
    ALTER TABLE partners DROP COLUMN acceptance_minutes;
  `);
}
