import type { Knex } from "knex";
import { CREATE_SEARCH_LEXEMES, DROP_SEARCH_LEXEMES } from "../shared/search-lexemes.ts";

// Indexes are created concurrently with writes.
export const config = { transaction: false };

const COLUMNS = {
  profiles: {
    suspended_at: "timestamptz",
    suspension_reason: "text",
  },
  invitations: { withdrawn_at: "timestamptz" },
} as const;

/** The lists of operators, newest first, each filter by an index of its own. */
const INDEXES = {
  profiles_listed: "profiles (created_at, id)",
  profiles_of_role: "profiles (role, created_at, id)",
  profiles_of_partner: "profiles (partner_id, created_at, id) WHERE partner_id IS NOT NULL",
  profiles_suspended: "profiles (created_at, id) WHERE suspended_at IS NOT NULL",
  profiles_unconfirmed_listed: "profiles (created_at, id) WHERE NOT email_confirmed",
  profiles_search: `profiles USING gin
    (search_lexemes(first_name || ' ' || last_name || ' ' || email || ' ' || coalesce(phone, '')))`,
  invitations_of_partner: "invitations (partner_id, id) WHERE partner_id IS NOT NULL",
};

export async function up(knex: Knex): Promise<void> {
  for (const [table, columns] of Object.entries(COLUMNS)) {
    for (const [name, type] of Object.entries(columns)) {
      await knex.raw(`ALTER TABLE ${table} ADD COLUMN IF NOT EXISTS ${name} ${type}`);
    }
  }
  // Validated without a lock that stops writes.
  await knex.raw("ALTER TABLE profiles DROP CONSTRAINT IF EXISTS profiles_suspension_reason_check");
  await knex.raw(`ALTER TABLE profiles ADD CONSTRAINT profiles_suspension_reason_check
    CHECK (length(suspension_reason) BETWEEN 1 AND 500) NOT VALID`);
  await knex.raw("ALTER TABLE profiles VALIDATE CONSTRAINT profiles_suspension_reason_check");
  await knex.raw(CREATE_SEARCH_LEXEMES);
  for (const [name, definition] of Object.entries(INDEXES)) {
    // An interrupted attempt leaves an invalid index.
    await knex.raw(`DROP INDEX CONCURRENTLY IF EXISTS ${name}`);
    await knex.raw(`CREATE INDEX CONCURRENTLY ${name} ON ${definition}`);
  }
}

export async function down(knex: Knex): Promise<void> {
  for (const name of Object.keys(INDEXES)) await knex.raw(`DROP INDEX CONCURRENTLY IF EXISTS ${name}`);
  await knex.raw(DROP_SEARCH_LEXEMES);
  for (const [table, columns] of Object.entries(COLUMNS)) {
    for (const name of Object.keys(columns)) await knex.raw(`ALTER TABLE ${table} DROP COLUMN ${name}`);
  }
}
