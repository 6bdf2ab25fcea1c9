import type { Knex } from "knex";

/** An order keeps its deadline when a sweep fails; failures and next attempt have columns of their own. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE orders
      ADD COLUMN deadline_failures integer NOT NULL DEFAULT 0,
      ADD COLUMN deadline_retry_at timestamptz,
      ADD COLUMN deadline_error text,
      -- Consecutive polls of the bank that failed for a reason of the platform.
      ADD COLUMN reconcile_failures integer NOT NULL DEFAULT 0;
    -- Not validated: every row has the default, and reading them all would lock the table.
    ALTER TABLE orders
      ADD CONSTRAINT orders_deadline_failures_count CHECK (deadline_failures >= 0) NOT VALID,
      ADD CONSTRAINT orders_deadline_error_length CHECK (length(deadline_error) <= 500) NOT VALID,
      ADD CONSTRAINT orders_reconcile_failures_count CHECK (reconcile_failures >= 0) NOT VALID;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE orders DROP COLUMN deadline_failures, DROP COLUMN deadline_retry_at, DROP COLUMN deadline_error,
      DROP COLUMN reconcile_failures
  `);
}
