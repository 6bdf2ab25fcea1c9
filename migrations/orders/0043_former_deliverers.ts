import type { Knex } from "knex";

/** Former deliverers, who must not be assigned an order although their tokens still have the role. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE former_deliverers (
      user_id uuid PRIMARY KEY,
      -- The version of the user in that message. A message with a newer version may restore the role.
      version integer NOT NULL CHECK (version > 0),
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX former_deliverers_age_idx ON former_deliverers (updated_at);
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("DROP TABLE former_deliverers");
}
