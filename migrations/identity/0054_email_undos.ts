import type { Knex } from "knex";

/** Changes of an e-mail address that the former address can undo. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE email_undos (
      token_hash text PRIMARY KEY CHECK (length(token_hash) BETWEEN 1 AND 64),
      user_id uuid NOT NULL,
      former_email text NOT NULL CHECK (length(former_email) BETWEEN 3 AND 254),
      expires_at timestamptz NOT NULL,
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now()
    )
  `);
  await knex.raw("CREATE INDEX email_undos_user_id ON email_undos (user_id)");
  await knex.raw("CREATE INDEX email_undos_expires_at ON email_undos (expires_at)");
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("DROP TABLE email_undos");
}
