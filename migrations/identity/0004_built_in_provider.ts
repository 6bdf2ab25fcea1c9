import type { Knex } from "knex";

/** The tables of the built-in identity provider. With another provider they stay empty. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE accounts (
      id uuid PRIMARY KEY,
      email text NOT NULL CHECK (length(email) BETWEEN 3 AND 254),
      password_hash text NOT NULL CHECK (length(password_hash) BETWEEN 1 AND 200),
      confirmed boolean NOT NULL,
      role text NOT NULL CHECK (role IN ('customer', 'deliverer', 'partner', 'admin')),
      partner_id uuid,
      partner_admin boolean NOT NULL DEFAULT false,
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now(),
      CHECK ((role = 'partner') = (partner_id IS NOT NULL)),
      CHECK (role = 'partner' OR NOT partner_admin)
    )
  `);
  await knex.raw("CREATE UNIQUE INDEX accounts_email ON accounts (email)");

  // A session is a family of refresh tokens: a token contains its generation, and only the newest one is valid.
  await knex.raw(`
    CREATE TABLE sessions (
      id uuid PRIMARY KEY,
      account_id uuid NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
      salt text NOT NULL CHECK (length(salt) BETWEEN 16 AND 64),
      generation integer NOT NULL DEFAULT 0 CHECK (generation >= 0),
      rotated_at timestamptz NOT NULL DEFAULT now(),
      expires_at timestamptz NOT NULL,
      ended_at timestamptz,
      user_agent text CHECK (length(user_agent) BETWEEN 1 AND 300),
      ip text CHECK (length(ip) BETWEEN 1 AND 45),
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now()
    )
  `);
  await knex.raw("CREATE INDEX sessions_account_id ON sessions (account_id)");
  await knex.raw("CREATE INDEX sessions_expires_at ON sessions (expires_at)");

  await knex.raw(`
    CREATE TABLE signing_keys (
      id uuid PRIMARY KEY,
      public_jwk jsonb NOT NULL,
      private_key_sealed text NOT NULL CHECK (length(private_key_sealed) BETWEEN 1 AND 4000),
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now()
    )
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("DROP TABLE signing_keys, sessions, accounts");
}
