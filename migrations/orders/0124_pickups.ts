import type { Knex } from "knex";

/**
 * When the deliverer confirmed the pickup at the partner, and when the deliverer was first near the partner and near the
 * customer.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE orders ADD COLUMN picked_up_at timestamptz");
  await knex.raw(`
    ALTER TABLE order_positions ADD COLUMN near_pickup_at timestamptz, ADD COLUMN near_destination_at timestamptz
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE order_positions DROP COLUMN near_pickup_at, DROP COLUMN near_destination_at");
  await knex.raw("ALTER TABLE orders DROP COLUMN picked_up_at");
}
