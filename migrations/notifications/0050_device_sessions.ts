import type { Knex } from "knex";

/**
 * A device belongs to the session that registered it and goes with it. Of devices that are there already the session is
 * not known: such a device gets the session in which its app registers its token again, and goes when any session of its
 * owner ends before that.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE devices ADD COLUMN session_id uuid");
  // Sessions that are over, for registrations that come late. Kept longer than any access token is valid.
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
