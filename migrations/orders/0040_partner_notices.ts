import type { Knex } from "knex";

/** When the partner of a paid order was notified: the time to accept counts from there. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE orders
      ADD COLUMN partner_notified_at timestamptz,
      -- Why the partner could not be notified, for a reason that is the platform's.
      ADD COLUMN notice_problem text;
    -- Not validated: no row has a value yet, and reading them all would lock the table.
    ALTER TABLE orders
      ADD CONSTRAINT orders_notice_problem_length CHECK (length(notice_problem) <= 500) NOT VALID;
    -- Orders that are paid now keep the deadline that they have.
    UPDATE orders SET partner_notified_at = updated_at WHERE status = 'paid' AND closed_at IS NULL;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE orders DROP COLUMN partner_notified_at, DROP COLUMN notice_problem");
}
