import type { Knex } from "knex";

export const config = { transaction: false };

const TABLES = ["sessions", "keycloak_sessions"];

/**
 * Whether the end of a session was published, so that other services remove, for example, its devices. Sessions that
 * ended before this migration count as published.
 */
export async function up(knex: Knex): Promise<void> {
  for (const table of TABLES) {
    await knex.raw(`ALTER TABLE ${table} ADD COLUMN IF NOT EXISTS told boolean NOT NULL DEFAULT false`);
    await knex.raw(`UPDATE ${table} SET told = true WHERE least(ended_at, expires_at) < now()`);
    // An interrupted attempt leaves an invalid index.
    await knex.raw(`DROP INDEX IF EXISTS ${table}_untold`);
    await knex.raw(
      `CREATE INDEX CONCURRENTLY ${table}_untold ON ${table} (least(ended_at, expires_at)) WHERE NOT told`,
    );
  }
  await knex.raw("ALTER TABLE invitations ADD COLUMN IF NOT EXISTS session_id uuid");
  await knex.raw(
    "CREATE INDEX IF NOT EXISTS invitations_session ON invitations (session_id) WHERE accepted_by IS NULL",
  );
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE invitations DROP COLUMN session_id");
  for (const table of TABLES) await knex.raw(`ALTER TABLE ${table} DROP COLUMN told`);
}
