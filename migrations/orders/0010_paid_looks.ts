import type { Knex } from "knex";

/** The bank is asked about paid orders as well. Those of before have no moment of payment, and are left alone. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- When an order had its payment together: from then on the looks are counted that find a second one.
    ALTER TABLE orders ADD COLUMN paid_at timestamptz;
    -- An order has left it after its last look, so it stays as small as a day.
    CREATE INDEX orders_paid_looks_idx ON orders (bank_id, reconcile_at)
      WHERE reconcile_at IS NOT NULL AND paid_at IS NOT NULL
        AND status NOT IN ('pending', 'cancelled', 'expired');
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("DROP INDEX orders_paid_looks_idx");
  await knex.raw("ALTER TABLE orders DROP COLUMN paid_at");
}
