import type { Knex } from "knex";

/** Texts of operators. Each replaces a built-in text, or adds one in a language without built-in texts. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE templates (
      id uuid PRIMARY KEY,
      event text NOT NULL CHECK (length(event) BETWEEN 1 AND 60),
      language text NOT NULL CHECK (length(language) BETWEEN 2 AND 5),
      channel text NOT NULL CHECK (channel IN ('push', 'email')),
      title text NOT NULL CHECK (length(title) BETWEEN 1 AND 200),
      body text NOT NULL CHECK (length(body) BETWEEN 1 AND 2000),
      enabled boolean NOT NULL,
      version integer NOT NULL DEFAULT 1 CHECK (version > 0),
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now(),
      UNIQUE (event, language, channel)
    )
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("DROP TABLE templates");
}
