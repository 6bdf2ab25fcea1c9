import type { Knex } from "knex";

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- The reports of banks as received. The primary key detects repeated events.
    CREATE TABLE payment_events (
      bank_id uuid NOT NULL REFERENCES banks (id),
      event_id text NOT NULL CHECK (length(event_id) BETWEEN 1 AND 200),
      body_hash text NOT NULL CHECK (length(body_hash) = 64),
      body text NOT NULL CHECK (length(body) <= 65536),
      kind text NOT NULL CHECK (kind IN ('paid', 'refunded', 'failed', 'unusable')),
      payment_id text CHECK (length(payment_id) <= 200),
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (bank_id, event_id)
    );

    CREATE TABLE payment_receipts (
      id uuid PRIMARY KEY,
      bank_id uuid NOT NULL REFERENCES banks (id),
      payment_id text NOT NULL CHECK (length(payment_id) BETWEEN 1 AND 200),
      event_id text NOT NULL CHECK (length(event_id) BETWEEN 1 AND 200),
      -- Absent if the report names no order of this platform.
      order_id uuid REFERENCES orders (id),
      stated_order text NOT NULL CHECK (length(stated_order) <= 200),
      amount_minor bigint NOT NULL CHECK (amount_minor > 0),
      currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
      outcome text NOT NULL CHECK (outcome IN ('accepted', 'underpaid', 'overpaid', 'late', 'unmatched')),
      -- The sum of completed and pending refunds, without failed ones.
      refund_minor bigint NOT NULL DEFAULT 0,
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now(),
      UNIQUE (bank_id, payment_id),
      CHECK (refund_minor BETWEEN 0 AND amount_minor),
      CHECK (outcome = 'unmatched' OR order_id IS NOT NULL)
    );
    CREATE INDEX payment_receipts_order_idx ON payment_receipts (order_id) WHERE order_id IS NOT NULL;

    -- The table is the queue: a worker leases a row, and the row's id is the idempotency key at the bank.
    CREATE TABLE refunds (
      id uuid PRIMARY KEY,
      order_id uuid NOT NULL REFERENCES orders (id),
      bank_id uuid NOT NULL,
      payment_id text NOT NULL,
      amount_minor bigint NOT NULL CHECK (amount_minor > 0),
      currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
      reason text NOT NULL CHECK (length(reason) BETWEEN 1 AND 500),
      -- sent: the request to the bank has begun, and the process may have ended since. unknown: no response.
      state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'sent', 'unknown', 'completed', 'failed')),
      attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
      next_at timestamptz NOT NULL DEFAULT now(),
      lease_token uuid,
      error text CHECK (length(error) <= 2000),
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now(),
      FOREIGN KEY (bank_id, payment_id) REFERENCES payment_receipts (bank_id, payment_id)
    );
    CREATE INDEX refunds_due_idx ON refunds (next_at) WHERE state IN ('pending', 'sent', 'unknown');
    CREATE INDEX refunds_order_idx ON refunds (order_id);
    CREATE INDEX refunds_payment_idx ON refunds (bank_id, payment_id);
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("DROP TABLE refunds, payment_receipts, payment_events");
}
