import type { Knex } from "knex";

const roles = (...more: string[]) =>
  ["customer", "deliverer", "partner", "admin", ...more].map((role) => `'${role}'`).join(", ");

const REPLACE_CHECK =
  "ALTER TABLE recipients DROP CONSTRAINT recipients_role_check, ADD CONSTRAINT recipients_role_check";

// Indexes are created concurrently with writes.
export const config = { transaction: false };

/** The roles support and finance. Not validated: every row satisfies the narrower check that this one replaces. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`${REPLACE_CHECK} CHECK (role IN (${roles("support", "finance")})) NOT VALID`);
  // An interrupted attempt leaves an invalid index.
  await knex.raw("DROP INDEX CONCURRENTLY IF EXISTS recipients_operators_idx");
  await knex.raw(`CREATE INDEX CONCURRENTLY recipients_operators_idx ON recipients (user_id)
    WHERE role IN ('support', 'finance', 'admin')`);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("DROP INDEX recipients_operators_idx");
  await knex.raw("UPDATE recipients SET role = 'customer' WHERE role IN ('support', 'finance')");
  await knex.raw(`${REPLACE_CHECK} CHECK (role IN (${roles()}))`);
}
