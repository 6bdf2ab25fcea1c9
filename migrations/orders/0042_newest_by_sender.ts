import type { Knex } from "knex";

/** Values that replace each other are as new as their sender says: promises of partners, positions of deliverers. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- When the partner made its promise, by the partner's clock.
    ALTER TABLE orders ADD COLUMN ready_said_at timestamptz;
    -- Times of one deliverer's device are compared with each other only.
    ALTER TABLE order_positions ADD COLUMN deliverer_id uuid;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE orders DROP COLUMN ready_said_at");
  await knex.raw("ALTER TABLE order_positions DROP COLUMN deliverer_id");
}
