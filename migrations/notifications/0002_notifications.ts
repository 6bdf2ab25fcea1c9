import type { Knex } from "knex";

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE agents (
      id uuid PRIMARY KEY,
      name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
      priority integer NOT NULL CHECK (priority BETWEEN 1 AND 1000),
      -- Push providers in the order in which they are tried.
      providers text[] NOT NULL CHECK (cardinality(providers) BETWEEN 1 AND 10),
      settings_sealed text NOT NULL CHECK (length(settings_sealed) <= 65536),
      enabled boolean NOT NULL,
      version integer NOT NULL DEFAULT 1 CHECK (version > 0),
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX agents_sending_idx ON agents (priority, id) WHERE enabled;

    -- Copies of identity's users. Of a deleted user, id and version stay, so that a late older message cannot restore
    -- the person's data.
    CREATE TABLE recipients (
      user_id uuid PRIMARY KEY,
      version integer NOT NULL CHECK (version > 0),
      email text CHECK (length(email) BETWEEN 3 AND 254),
      first_name text CHECK (length(first_name) BETWEEN 1 AND 100),
      language text CHECK (length(language) BETWEEN 2 AND 5),
      role text CHECK (role IN ('customer', 'deliverer', 'partner', 'admin')),
      deleted_at timestamptz,
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now(),
      CHECK ((deleted_at IS NULL) = (email IS NOT NULL)),
      CHECK (email IS NULL OR (first_name IS NOT NULL AND language IS NOT NULL AND role IS NOT NULL))
    );
    CREATE INDEX recipients_admins_idx ON recipients (user_id) WHERE role = 'admin';

    CREATE TABLE preferences (
      user_id uuid PRIMARY KEY,
      push boolean NOT NULL,
      email boolean NOT NULL,
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now()
    );

    CREATE TABLE devices (
      id uuid PRIMARY KEY,
      user_id uuid NOT NULL,
      name text CHECK (length(name) BETWEEN 1 AND 100),
      language text CHECK (length(language) BETWEEN 2 AND 5),
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX devices_user_idx ON devices (user_id, id);

    CREATE TABLE device_tokens (
      device_id uuid NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
      provider text NOT NULL CHECK (length(provider) BETWEEN 1 AND 20),
      token text NOT NULL CHECK (length(token) BETWEEN 1 AND 4096),
      -- SHA-256 of the token, because a token may be too long for an index.
      token_hash bytea NOT NULL CHECK (octet_length(token_hash) = 32),
      last_failure text CHECK (length(last_failure) <= 500),
      last_failure_at timestamptz,
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (device_id, provider),
      -- An app on a device has one owner: the user who signed in there last.
      UNIQUE (provider, token_hash)
    );

    CREATE TABLE notifications (
      id uuid PRIMARY KEY,
      message_id uuid NOT NULL,
      -- The recipient: a user's id, or "address" for a direct send.
      addressee text NOT NULL CHECK (length(addressee) BETWEEN 1 AND 60),
      user_id uuid,
      order_id uuid,
      event text NOT NULL CHECK (length(event) BETWEEN 1 AND 60),
      title text NOT NULL CHECK (length(title) BETWEEN 1 AND 200),
      body text NOT NULL CHECK (length(body) BETWEEN 1 AND 2000),
      state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'sent', 'muted', 'failed')),
      attempts jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(attempts) = 'array'),
      -- How often all its channels were tried.
      passes integer NOT NULL DEFAULT 0 CHECK (passes >= 0),
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now(),
      UNIQUE (message_id, addressee)
    );
    CREATE INDEX notifications_user_idx ON notifications (user_id, id) WHERE user_id IS NOT NULL;

    -- For each order with notifications: its customer, and the newest version that was notified.
    CREATE TABLE known_orders (
      order_id uuid PRIMARY KEY,
      customer_id uuid NOT NULL,
      version integer NOT NULL CHECK (version > 0),
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now()
    );
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(
    "DROP TABLE known_orders, notifications, device_tokens, devices, preferences, recipients, agents",
  );
}
