import type { Knex } from "knex";

/** The table of the Keycloak provider. With another provider it stays empty. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE keycloak_sessions (
      -- Keycloak's own id of the session: the sid of its access tokens.
      id uuid PRIMARY KEY,
      account_id uuid NOT NULL,
      salt text NOT NULL CHECK (length(salt) BETWEEN 16 AND 64),
      generation integer NOT NULL DEFAULT 0 CHECK (generation >= 0),
      rotated_at timestamptz NOT NULL DEFAULT now(),
      -- Keycloak's newest tokens of the session. Clients never get the refresh token; repeats get the access token.
      tokens_sealed text NOT NULL CHECK (length(tokens_sealed) BETWEEN 1 AND 20000),
      -- The lease of the exchange that uses Keycloak's refresh token.
      exchanged_until timestamptz NOT NULL DEFAULT 'epoch',
      expires_at timestamptz NOT NULL,
      ended_at timestamptz,
      -- Whether the session has ended at Keycloak too.
      closed boolean NOT NULL DEFAULT false,
      user_agent text CHECK (length(user_agent) BETWEEN 1 AND 300),
      ip text CHECK (length(ip) BETWEEN 1 AND 45),
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now()
    )
  `);
  await knex.raw("CREATE INDEX keycloak_sessions_account_id ON keycloak_sessions (account_id)");
  await knex.raw("CREATE INDEX keycloak_sessions_expires_at ON keycloak_sessions (expires_at)");
  await knex.raw(
    "CREATE INDEX keycloak_sessions_unclosed ON keycloak_sessions (ended_at) WHERE ended_at IS NOT NULL AND NOT closed",
  );
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("DROP TABLE keycloak_sessions");
}
