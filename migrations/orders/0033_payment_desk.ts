import type { Knex } from "knex";

/**
 * Refunds of payments that match no order, and reports of banks about disputed payments. No statement reads a table:
 * every row that satisfies the old CHECK satisfies the new one.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE refunds ALTER COLUMN order_id DROP NOT NULL;

    ALTER TABLE payment_events DROP CONSTRAINT payment_events_kind_check,
      ADD CONSTRAINT payment_events_kind_check
        CHECK (kind IN ('paid', 'refunded', 'refund_failed', 'failed', 'disputed', 'noted', 'unusable')) NOT VALID;

    CREATE TABLE disputes (
      id uuid PRIMARY KEY,
      bank_id uuid NOT NULL REFERENCES banks (id),
      -- The bank's id of the dispute.
      dispute_id text NOT NULL CHECK (length(dispute_id) BETWEEN 1 AND 200),
      payment_id text NOT NULL CHECK (length(payment_id) BETWEEN 1 AND 200),
      order_id uuid REFERENCES orders (id),
      amount_minor bigint NOT NULL CHECK (amount_minor BETWEEN 1 AND 9007199254740991),
      currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
      reason text NOT NULL CHECK (length(reason) BETWEEN 1 AND 200),
      state text NOT NULL CHECK (state IN ('open', 'won', 'lost', 'closed')),
      -- Whether the bank has withdrawn the money.
      withdrawn boolean NOT NULL,
      -- The time of the newest report, by the bank's clock.
      reported_at timestamptz NOT NULL,
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now(),
      UNIQUE (bank_id, dispute_id)
    );
    CREATE INDEX disputes_order_idx ON disputes (order_id) WHERE order_id IS NOT NULL;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    DROP TABLE disputes;
    DELETE FROM refunds WHERE order_id IS NULL;
    ALTER TABLE refunds ALTER COLUMN order_id SET NOT NULL;
    DELETE FROM payment_events WHERE kind = 'disputed';
    ALTER TABLE payment_events DROP CONSTRAINT payment_events_kind_check,
      ADD CONSTRAINT payment_events_kind_check
        CHECK (kind IN ('paid', 'refunded', 'refund_failed', 'failed', 'noted', 'unusable'));
  `);
}
