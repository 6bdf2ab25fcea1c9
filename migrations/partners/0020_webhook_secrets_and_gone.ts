import type { Knex } from "knex";

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE partners
      -- Older secrets that are still valid, the newest first: [{ "secret": encrypted, "until": time }].
      ADD COLUMN webhook_older_secrets jsonb NOT NULL DEFAULT '[]'
        CHECK (jsonb_typeof(webhook_older_secrets) = 'array' AND jsonb_array_length(webhook_older_secrets) <= 8),
      -- The time since which the endpoint answers 410. The partner takes no orders until its webhook is set again.
      ADD COLUMN webhook_gone_at timestamptz;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE partners DROP COLUMN webhook_older_secrets, DROP COLUMN webhook_gone_at");
}
