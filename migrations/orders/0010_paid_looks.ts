import type { Knex } from "knex";

/** Paid orders are polled too. Orders that were paid before have no time of payment and are not polled. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- The time when the order was fully paid. The polls for a second payment count from it.
    ALTER TABLE orders ADD COLUMN paid_at timestamptz;
    -- Contains only orders with polls left, so it stays small.
    CREATE INDEX orders_paid_looks_idx ON orders (bank_id, reconcile_at)
      WHERE reconcile_at IS NOT NULL AND paid_at IS NOT NULL
        AND status NOT IN ('pending', 'cancelled', 'expired');
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("DROP INDEX orders_paid_looks_idx");
  await knex.raw("ALTER TABLE orders DROP COLUMN paid_at");
}
