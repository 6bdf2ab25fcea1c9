import type { Knex } from "knex";

/**
 * A person may have no last name (stored as an empty text, which the former release can read), and a language tag of
 * BCP 47 has up to 35 characters. Not validated: every row satisfies the narrower checks that these replace.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE profiles
      DROP CONSTRAINT profiles_last_name_check,
      ADD CONSTRAINT profiles_last_name_check CHECK (length(last_name) <= 100) NOT VALID,
      DROP CONSTRAINT profiles_language_check,
      ADD CONSTRAINT profiles_language_check CHECK (length(language) BETWEEN 2 AND 35) NOT VALID
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    UPDATE profiles SET last_name = '-' WHERE last_name = '';
    UPDATE profiles SET language = split_part(language, '-', 1) WHERE length(language) > 5;
    UPDATE profiles SET language = 'en' WHERE length(language) > 5;
    ALTER TABLE profiles
      DROP CONSTRAINT profiles_last_name_check,
      ADD CONSTRAINT profiles_last_name_check CHECK (length(last_name) BETWEEN 1 AND 100),
      DROP CONSTRAINT profiles_language_check,
      ADD CONSTRAINT profiles_language_check CHECK (length(language) BETWEEN 2 AND 5)
  `);
}
