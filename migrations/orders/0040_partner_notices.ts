import type { Knex } from "knex";

/** The time when the partner of a paid order was notified. The time to accept counts from it. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE orders
      ADD COLUMN partner_notified_at timestamptz,
      -- Why the platform could not notify the partner.
      ADD COLUMN notice_problem text;
    -- Not validated: no row has a value yet, and reading them all would lock the table.
    ALTER TABLE orders
      ADD CONSTRAINT orders_notice_problem_length CHECK (length(notice_problem) <= 500) NOT VALID;
    -- Orders that are paid now keep their deadline.
    UPDATE orders SET partner_notified_at = updated_at WHERE status = 'paid' AND closed_at IS NULL;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE orders DROP COLUMN partner_notified_at, DROP COLUMN notice_problem");
}
