import type { Knex } from "knex";

// Indexes are created concurrently with writes.
export const config = { transaction: false };

const INDEXES = {
  recipients_partner_idx: "recipients (partner_id, user_id) WHERE partner_id IS NOT NULL",
  known_orders_remind_idx: "known_orders (remind_at) WHERE remind_at IS NOT NULL",
};

/** The staff of partners, and the reminders of paid orders that no partner has accepted. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE recipients ADD COLUMN IF NOT EXISTS partner_id uuid");
  // `reminder`: what a reminder says; absent when none is to be sent. `remind_at`: absent while its message is under way.
  await knex.raw(`ALTER TABLE known_orders
    ADD COLUMN IF NOT EXISTS remind_at timestamptz,
    ADD COLUMN IF NOT EXISTS reminder jsonb`);
  for (const [name, definition] of Object.entries(INDEXES)) {
    // An interrupted attempt leaves an invalid index.
    await knex.raw(`DROP INDEX CONCURRENTLY IF EXISTS ${name}`);
    await knex.raw(`CREATE INDEX CONCURRENTLY ${name} ON ${definition}`);
  }
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE known_orders DROP COLUMN remind_at, DROP COLUMN reminder");
  await knex.raw("ALTER TABLE recipients DROP COLUMN partner_id");
}
