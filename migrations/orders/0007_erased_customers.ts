import type { Knex } from "knex";

/** Erased customers whose orders still contain their personal data. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE erased_customers (
      customer_id uuid PRIMARY KEY,
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now()
    )
  `);
  await knex.raw("ALTER TABLE orders ADD COLUMN erased_at timestamptz");
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE orders DROP COLUMN erased_at");
  await knex.raw("DROP TABLE erased_customers");
}
