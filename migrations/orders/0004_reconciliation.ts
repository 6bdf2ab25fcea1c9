import type { Knex } from "knex";

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE orders
      -- The bank's id of the checkout, for polls.
      ADD COLUMN checkout_ref text CHECK (length(checkout_ref) BETWEEN 1 AND 200),
      -- The time of the next poll of the bank. Absent after the last poll.
      ADD COLUMN reconcile_at timestamptz,
      ADD COLUMN reconcile_looks integer NOT NULL DEFAULT 0 CHECK (reconcile_looks >= 0),
      ADD COLUMN reconciled_at timestamptz,
      ADD COLUMN reconcile_error text CHECK (length(reconcile_error) <= 500);
    -- Contains only orders with polls left: those that lack their payment, or have ended without it.
    CREATE INDEX orders_reconcile_idx ON orders (bank_id, reconcile_at)
      WHERE reconcile_at IS NOT NULL AND status IN ('pending', 'cancelled', 'expired');

    -- The polls' failures of each bank. A bank without failures has no row, or one with 0.
    CREATE TABLE bank_contacts (
      bank_id uuid PRIMARY KEY REFERENCES banks (id),
      failures integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
      answered_at timestamptz,
      silent_since timestamptz,
      -- The bank is not polled before this time.
      retry_at timestamptz,
      error text CHECK (length(error) <= 500),
      alerted boolean NOT NULL DEFAULT false,
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now()
    );

    ALTER TABLE payment_events DROP CONSTRAINT payment_events_kind_check,
      ADD CONSTRAINT payment_events_kind_check
        CHECK (kind IN ('paid', 'refunded', 'refund_failed', 'failed', 'noted', 'unusable'));
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    DROP TABLE bank_contacts;
    DELETE FROM payment_events WHERE kind IN ('refund_failed', 'noted');
    ALTER TABLE payment_events DROP CONSTRAINT payment_events_kind_check,
      ADD CONSTRAINT payment_events_kind_check CHECK (kind IN ('paid', 'refunded', 'failed', 'unusable'));
    DROP INDEX orders_reconcile_idx;
    ALTER TABLE orders DROP COLUMN checkout_ref, DROP COLUMN reconcile_at, DROP COLUMN reconcile_looks,
      DROP COLUMN reconciled_at, DROP COLUMN reconcile_error;
  `);
}
