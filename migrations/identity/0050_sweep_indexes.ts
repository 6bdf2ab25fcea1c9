import type { Knex } from "knex";

/** Indexes of large tables are created concurrently, which is impossible in a transaction. */
export const config = { transaction: false };

const LARGE = {
  sessions_over: "sessions (least(ended_at, expires_at))",
  keycloak_sessions_over: "keycloak_sessions (least(ended_at, expires_at)) WHERE closed OR ended_at IS NULL",
  profiles_unconfirmed_since: "profiles (updated_at) WHERE NOT email_confirmed",
  outbox_subject: "outbox (subject)", // an erasure deletes the messages about the person
  // A correct code and an erasure delete all counts of one address or user at once.
  allowances_counted: "allowances (split_part(subject, '.', 1))",
};
const SMALL = {
  invitations_expires_at: "invitations (expires_at)",
  erasures_updated_at: "erasures (updated_at)",
};
const REPLACED = {
  sessions_expires_at: "sessions (expires_at)",
  keycloak_sessions_expires_at: "keycloak_sessions (expires_at)",
  profiles_unconfirmed: "profiles (created_at) WHERE NOT email_confirmed",
};

/** Each sweep finds its due rows by a partial index, so its cost does not depend on the size of the table. */
export async function up(knex: Knex): Promise<void> {
  for (const [name, definition] of Object.entries(LARGE)) await make(knex, name, definition);
  for (const [name, definition] of Object.entries(SMALL)) {
    await knex.raw(`CREATE INDEX IF NOT EXISTS ${name} ON ${definition}`);
  }
  await drop(knex, REPLACED);
}

export async function down(knex: Knex): Promise<void> {
  for (const [name, definition] of Object.entries(REPLACED)) await make(knex, name, definition);
  await drop(knex, { ...LARGE, ...SMALL });
}

async function make(knex: Knex, name: string, definition: string): Promise<void> {
  // An interrupted attempt leaves an invalid index.
  await knex.raw(`DROP INDEX IF EXISTS ${name}`);
  await knex.raw(`CREATE INDEX CONCURRENTLY ${name} ON ${definition}`);
}

async function drop(knex: Knex, indexes: Record<string, string>): Promise<void> {
  await knex.raw(`DROP INDEX IF EXISTS ${Object.keys(indexes).join(", ")}`);
}
