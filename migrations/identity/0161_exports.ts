import type { Knex } from "knex";

/**
 * Exports of users' data that are made in the background, and their pages. `ticket` is encrypted. `next_step` is absent when
 * all pages are there. Between two pages another process can continue an export.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE exports (
      id uuid PRIMARY KEY,
      user_id uuid NOT NULL UNIQUE,
      state text NOT NULL CHECK (state IN ('pending', 'ready', 'failed')),
      ticket text NOT NULL CHECK (length(ticket) <= 1000),
      next_step text CHECK (length(next_step) <= 200),
      pages integer NOT NULL DEFAULT 0 CHECK (pages >= 0),
      failures integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
      due_at timestamptz NOT NULL DEFAULT now(),
      lease_id uuid,
      expires_at timestamptz NOT NULL,
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX exports_due_idx ON exports (due_at) WHERE state = 'pending';
    CREATE INDEX exports_expiry_idx ON exports (expires_at);
    CREATE TABLE export_pages (
      export_id uuid NOT NULL REFERENCES exports (id) ON DELETE CASCADE,
      number integer NOT NULL CHECK (number > 0),
      content jsonb NOT NULL,
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (export_id, number)
    );
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("DROP TABLE export_pages, exports");
}
