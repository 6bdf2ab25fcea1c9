import type { Knex } from "knex";

/** The rejection of an order by partner staff: its reason, its text and the products that are out of stock. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE orders ADD COLUMN rejection jsonb");
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE orders DROP COLUMN rejection");
}
