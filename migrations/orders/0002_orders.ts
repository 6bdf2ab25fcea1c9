import type { Knex } from "knex";

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE banks (
      id uuid PRIMARY KEY,
      title text NOT NULL CHECK (length(title) BETWEEN 1 AND 120),
      adapter text NOT NULL CHECK (length(adapter) BETWEEN 1 AND 40),
      -- Encrypted, with the bank's id as additional authenticated data.
      settings text NOT NULL CHECK (length(settings) <= 16384),
      webcheckout_url text NOT NULL CHECK (length(webcheckout_url) <= 2048),
      active boolean NOT NULL,
      version integer NOT NULL DEFAULT 1 CHECK (version > 0),
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now()
    );

    -- The id of the confirmed check. So the primary key allows one order for each check.
    CREATE TABLE orders (
      id uuid PRIMARY KEY,
      version integer NOT NULL CHECK (version > 0),
      status text NOT NULL CHECK (status IN ('pending', 'paid', 'preparing', 'ready', 'delivering',
        'delivered', 'failed', 'cancelled', 'expired')),
      payment_status text NOT NULL CHECK (payment_status IN ('unpaid', 'partially_paid', 'paid',
        'refund_pending', 'partially_refunded', 'refunded', 'refund_failed')),
      customer_id uuid NOT NULL,
      customer_name text NOT NULL CHECK (length(customer_name) BETWEEN 1 AND 200),
      customer_phone text CHECK (length(customer_phone) <= 16),
      partner_id uuid NOT NULL,
      partner jsonb NOT NULL CHECK (jsonb_typeof(partner) = 'object'),
      pickup_latitude double precision CHECK (pickup_latitude BETWEEN -90 AND 90),
      pickup_longitude double precision CHECK (pickup_longitude BETWEEN -180 AND 180),
      deliverer_id uuid,
      currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
      fee_minor bigint NOT NULL CHECK (fee_minor >= 0),
      total_minor bigint NOT NULL CHECK (total_minor > 0 AND total_minor >= fee_minor),
      paid_minor bigint NOT NULL DEFAULT 0 CHECK (paid_minor >= 0),
      refunded_minor bigint NOT NULL DEFAULT 0 CHECK (refunded_minor >= 0),
      refund_pending_minor bigint NOT NULL DEFAULT 0 CHECK (refund_pending_minor >= 0),
      refund_failed_minor bigint NOT NULL DEFAULT 0 CHECK (refund_failed_minor >= 0),
      address jsonb NOT NULL CHECK (jsonb_typeof(address) = 'object'),
      note text CHECK (length(note) BETWEEN 1 AND 500),
      bank_id uuid NOT NULL REFERENCES banks (id),
      checkout_url text CHECK (length(checkout_url) <= 2048),
      pay_by timestamptz NOT NULL,
      deadline_at timestamptz,
      alerted_at timestamptz,
      ready_at timestamptz,
      ready_since timestamptz,
      closed_at timestamptz,
      reason text CHECK (length(reason) <= 500),
      handover_failures integer NOT NULL DEFAULT 0 CHECK (handover_failures BETWEEN 0 AND 5),
      proof_photo_id text CHECK (length(proof_photo_id) <= 100),
      last_move text CHECK (length(last_move) <= 40),
      last_actor text CHECK (length(last_actor) <= 100),
      -- The trace of the confirmation, because a bank's callback has no trace context.
      traceparent text CHECK (length(traceparent) <= 100),
      created_at timestamptz NOT NULL,
      updated_at timestamptz NOT NULL,
      CONSTRAINT orders_money_conserved CHECK (refunded_minor + refund_pending_minor <= paid_minor),
      CONSTRAINT orders_paid_before_kitchen CHECK (status NOT IN ('paid', 'preparing', 'ready', 'delivering',
        'delivered') OR paid_minor >= total_minor),
      CONSTRAINT orders_carried_by_somebody CHECK (status NOT IN ('delivering', 'delivered')
        OR deliverer_id IS NOT NULL),
      CONSTRAINT orders_end_or_wait CHECK (CASE WHEN status IN ('delivered', 'cancelled', 'expired')
        THEN closed_at IS NOT NULL AND deadline_at IS NULL
        ELSE closed_at IS NULL AND deadline_at IS NOT NULL END)
    ) WITH (fillfactor = 80);
    CREATE INDEX orders_customer_idx ON orders (customer_id, id);
    CREATE INDEX orders_partner_idx ON orders (partner_id, id);
    CREATE INDEX orders_deliverer_idx ON orders (deliverer_id, id) WHERE deliverer_id IS NOT NULL;
    -- The partial indexes contain open orders only, so their size does not grow with the age of the platform.
    CREATE INDEX orders_deadline_idx ON orders (deadline_at) WHERE deadline_at IS NOT NULL;
    CREATE INDEX orders_open_idx ON orders (status, id) WHERE closed_at IS NULL;
    CREATE INDEX orders_pool_idx ON orders (ready_since) WHERE status = 'ready';
    CREATE INDEX orders_stuck_idx ON orders (id)
      WHERE alerted_at IS NOT NULL OR payment_status = 'refund_failed';

    CREATE TABLE order_lines (
      order_id uuid NOT NULL REFERENCES orders (id),
      line_number integer NOT NULL CHECK (line_number BETWEEN 1 AND 100),
      product_id uuid NOT NULL,
      title text NOT NULL CHECK (length(title) BETWEEN 1 AND 160),
      quantity integer NOT NULL CHECK (quantity BETWEEN 1 AND 99),
      unit_price_minor bigint NOT NULL CHECK (unit_price_minor >= 0),
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (order_id, line_number)
    );

    -- The rows of an order's history are unique and never change.
    CREATE TABLE order_transitions (
      id uuid PRIMARY KEY,
      order_id uuid NOT NULL REFERENCES orders (id),
      version integer NOT NULL CHECK (version > 0),
      type text NOT NULL CHECK (length(type) BETWEEN 1 AND 60),
      from_status text,
      to_status text NOT NULL,
      actor text NOT NULL CHECK (length(actor) BETWEEN 1 AND 100),
      reason text CHECK (length(reason) <= 500),
      trace_id text CHECK (trace_id ~ '^[0-9a-f]{32}$'),
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now(),
      UNIQUE (order_id, version)
    );
    CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN RAISE EXCEPTION 'the rows of % are never changed', TG_TABLE_NAME; END $$;
    CREATE TRIGGER order_transitions_append_only BEFORE UPDATE OR DELETE ON order_transitions
      FOR EACH ROW EXECUTE FUNCTION refuse_change();

    -- Not a column of orders: a position is written every few seconds and must not conflict with moves.
    CREATE TABLE order_positions (
      order_id uuid PRIMARY KEY REFERENCES orders (id),
      latitude double precision NOT NULL CHECK (latitude BETWEEN -90 AND 90),
      longitude double precision NOT NULL CHECK (longitude BETWEEN -180 AND 180),
      reported_at timestamptz NOT NULL,
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now()
    ) WITH (fillfactor = 50);

    CREATE TABLE partner_callbacks (
      partner_id uuid NOT NULL,
      event_id text NOT NULL CHECK (length(event_id) BETWEEN 1 AND 200),
      body_hash text NOT NULL CHECK (length(body_hash) = 64),
      type text NOT NULL CHECK (length(type) <= 60),
      order_id uuid NOT NULL REFERENCES orders (id),
      reason text CHECK (length(reason) <= 500),
      ready_at timestamptz,
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (partner_id, event_id)
    );
    CREATE INDEX partner_callbacks_order_idx ON partner_callbacks (order_id);
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    DROP TABLE partner_callbacks, order_positions, order_transitions, order_lines, orders, banks;
    DROP FUNCTION refuse_change;
  `);
}
