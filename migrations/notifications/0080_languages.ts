import type { Knex } from "knex";

const TABLES = ["recipients", "devices", "templates"];

const bounded = (max: number, more = "") =>
  TABLES.map(
    (table) => `ALTER TABLE ${table}
      DROP CONSTRAINT ${table}_language_check,
      ADD CONSTRAINT ${table}_language_check CHECK (length(language) BETWEEN 2 AND ${max}) ${more}`,
  ).join(";");

/**
 * A language tag of BCP 47 has up to 35 characters. Not validated: every row satisfies the narrower checks that these
 * replace, and reading them all would hold a lock for long.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(bounded(35, "NOT VALID"));
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    DELETE FROM templates WHERE length(language) > 5;
    UPDATE recipients SET language = 'en' WHERE length(language) > 5;
    UPDATE devices SET language = NULL WHERE length(language) > 5;
    ${bounded(5)}
  `);
}
