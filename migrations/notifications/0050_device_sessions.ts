import type { Knex } from "knex";

/**
 * A device belongs to the session that registered it and is removed when that session ends. The session of existing
 * devices is unknown: such a device gets the session in which its app registers its token again. If any session of its
 * owner ends before that, the device is removed.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE devices ADD COLUMN session_id uuid");
  // Ended sessions, to refuse late registrations. Kept longer than access tokens are valid.
  await knex.raw(`
    CREATE TABLE ended_sessions (
      session_id uuid NOT NULL,
      user_id uuid NOT NULL,
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (user_id, session_id)
    )
  `);
  await knex.raw("CREATE INDEX ended_sessions_created_at ON ended_sessions (created_at)");
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("DROP TABLE ended_sessions");
  await knex.raw("ALTER TABLE devices DROP COLUMN session_id");
}
