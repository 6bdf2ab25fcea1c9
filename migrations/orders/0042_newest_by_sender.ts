import type { Knex } from "knex";

/** Promises of partners and positions of deliverers replace each other by the time of their sender. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- The time of the partner's promise, by the partner's clock.
    ALTER TABLE orders ADD COLUMN ready_said_at timestamptz;
    -- Only times of the same deliverer's device are compared.
    ALTER TABLE order_positions ADD COLUMN deliverer_id uuid;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE orders DROP COLUMN ready_said_at");
  await knex.raw("ALTER TABLE order_positions DROP COLUMN deliverer_id");
}
