import type { Knex } from "knex";

/** Profiles, independent of the identity provider that stores the passwords, and the codes that verify addresses. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE profiles (
      id uuid PRIMARY KEY,
      email text NOT NULL CHECK (length(email) BETWEEN 3 AND 254),
      email_confirmed boolean NOT NULL DEFAULT false,
      pending_email text CHECK (length(pending_email) BETWEEN 3 AND 254),
      first_name text NOT NULL CHECK (length(first_name) BETWEEN 1 AND 100),
      last_name text NOT NULL CHECK (length(last_name) BETWEEN 1 AND 100),
      phone text CHECK (phone ~ '^\\+[1-9][0-9]{6,14}$'),
      birth_date date CHECK (birth_date BETWEEN '1900-01-01' AND '2200-01-01'),
      language text NOT NULL CHECK (length(language) BETWEEN 2 AND 5),
      role text NOT NULL CHECK (role IN ('customer', 'deliverer', 'partner', 'admin')),
      partner_id uuid,
      partner_admin boolean NOT NULL DEFAULT false,
      has_avatar boolean NOT NULL DEFAULT false,
      avatar_version integer NOT NULL DEFAULT 0 CHECK (avatar_version >= 0),
      -- Given at the registration. The message user.registered passes it on after the confirmation.
      push_token jsonb CHECK (length(push_token::text) <= 5000),
      version integer NOT NULL DEFAULT 1 CHECK (version >= 1),
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now(),
      CHECK ((role = 'partner') = (partner_id IS NOT NULL)),
      CHECK (role = 'partner' OR NOT partner_admin)
    )
  `);
  await knex.raw("CREATE UNIQUE INDEX profiles_email ON profiles (email)");
  await knex.raw("CREATE INDEX profiles_unconfirmed ON profiles (created_at) WHERE NOT email_confirmed");

  await knex.raw(`
    CREATE TABLE verification_codes (
      purpose text NOT NULL CHECK (purpose IN ('confirm-email', 'change-email', 'reset-password')),
      -- A digest of the address, or the id of the user who changes it.
      subject text NOT NULL CHECK (length(subject) BETWEEN 1 AND 64),
      code_hash text NOT NULL CHECK (length(code_hash) BETWEEN 1 AND 64),
      tries integer NOT NULL DEFAULT 0 CHECK (tries >= 0),
      expires_at timestamptz NOT NULL,
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (purpose, subject)
    )
  `);
  await knex.raw("CREATE INDEX verification_codes_expires_at ON verification_codes (expires_at)");

  await knex.raw(`
    CREATE TABLE allowances (
      scope text NOT NULL CHECK (length(scope) BETWEEN 1 AND 40),
      subject text NOT NULL CHECK (length(subject) BETWEEN 1 AND 64),
      used integer NOT NULL CHECK (used >= 0),
      renewed_at timestamptz NOT NULL,
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (scope, subject)
    )
  `);
  await knex.raw("CREATE INDEX allowances_renewed_at ON allowances (renewed_at)");

  await knex.raw(`
    CREATE TABLE invitations (
      id uuid PRIMARY KEY,
      email text NOT NULL CHECK (length(email) BETWEEN 3 AND 254),
      role text NOT NULL CHECK (role IN ('deliverer', 'partner', 'admin')),
      partner_id uuid,
      partner_admin boolean NOT NULL DEFAULT false,
      token_hash text NOT NULL CHECK (length(token_hash) BETWEEN 1 AND 64),
      invited_by uuid NOT NULL,
      expires_at timestamptz NOT NULL,
      -- The lease of the acceptance that is in progress.
      claimed_until timestamptz NOT NULL DEFAULT 'epoch',
      accepted_by uuid,
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now(),
      CHECK ((role = 'partner') = (partner_id IS NOT NULL)),
      CHECK (role = 'partner' OR NOT partner_admin)
    )
  `);
  await knex.raw("CREATE UNIQUE INDEX invitations_token_hash ON invitations (token_hash)");
  await knex.raw("CREATE INDEX invitations_email ON invitations (email)");

  // Accounts to delete at the provider. Inserted in the transaction that erases the profile.
  await knex.raw(`
    CREATE TABLE erasures (
      user_id uuid PRIMARY KEY,
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now()
    )
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("DROP TABLE erasures, invitations, allowances, verification_codes, profiles");
}
