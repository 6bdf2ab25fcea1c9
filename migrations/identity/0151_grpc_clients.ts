import type { Knex } from "knex";

/** Programs of third parties that call gRPC methods. Of a key only the hash of its secret part is stored. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE grpc_clients (
      id uuid PRIMARY KEY,
      name text NOT NULL CHECK (length(name) BETWEEN 2 AND 40),
      secret_hash text NOT NULL CHECK (length(secret_hash) = 43),
      methods text[] NOT NULL CHECK (cardinality(methods) BETWEEN 1 AND 100),
      calls_per_second integer NOT NULL CHECK (calls_per_second BETWEEN 1 AND 1000),
      created_by uuid NOT NULL,
      expires_at timestamptz,
      revoked_at timestamptz,
      last_used_at timestamptz,
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now()
    )
  `);
  await knex.raw("CREATE UNIQUE INDEX grpc_clients_name ON grpc_clients (name) WHERE revoked_at IS NULL");
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("DROP TABLE grpc_clients");
}
