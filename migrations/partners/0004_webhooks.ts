import type { Knex } from "knex";

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- The webhook messages. Every attempt sends the same bytes.
    CREATE TABLE webhook_messages (
      id uuid PRIMARY KEY,
      partner_id uuid NOT NULL REFERENCES partners (id),
      message_id text NOT NULL CHECK (length(message_id) BETWEEN 1 AND 100),
      type text NOT NULL CHECK (length(type) BETWEEN 1 AND 60),
      order_id uuid,
      -- Selects the schedule of attempts.
      urgency text NOT NULL CHECK (urgency IN ('preparation', 'information', 'test')),
      body text NOT NULL CHECK (octet_length(body) <= 262144),
      -- No attempt starts after this time.
      deadline_at timestamptz,
      -- The time since which it is obsolete, because the order was cancelled.
      stopped_at timestamptz,
      traceparent text CHECK (length(traceparent) <= 100),
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now(),
      UNIQUE (partner_id, message_id)
    );
    CREATE INDEX webhook_messages_order_idx ON webhook_messages (order_id) WHERE order_id IS NOT NULL;

    -- One row for each attempt. The table is the log and, for pending rows, the queue.
    CREATE TABLE webhook_deliveries (
      id uuid PRIMARY KEY,
      webhook_message_id uuid NOT NULL REFERENCES webhook_messages (id) ON DELETE CASCADE,
      partner_id uuid NOT NULL REFERENCES partners (id),
      attempt integer NOT NULL CHECK (attempt BETWEEN 1 AND 1000),
      state text NOT NULL CHECK (state IN ('pending', 'accepted', 'failed', 'dead', 'stopped')),
      -- The time from which it may be claimed; for a claimed row, the end of the lease.
      due_at timestamptz NOT NULL,
      lease_id uuid,
      status_code integer CHECK (status_code BETWEEN 0 AND 999),
      duration_ms integer CHECK (duration_ms >= 0),
      response_head text CHECK (length(response_head) <= 1024),
      error text CHECK (length(error) <= 200),
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now(),
      UNIQUE (webhook_message_id, attempt)
    );
    -- Finds the next partner's queue without reading a long one.
    CREATE INDEX webhook_deliveries_queue_idx ON webhook_deliveries (partner_id, due_at) WHERE state = 'pending';
    CREATE INDEX webhook_deliveries_leased_idx ON webhook_deliveries (partner_id) WHERE lease_id IS NOT NULL;
    CREATE INDEX webhook_deliveries_log_idx ON webhook_deliveries (partner_id, id DESC);
    CREATE INDEX webhook_deliveries_dead_idx ON webhook_deliveries (id DESC) WHERE state = 'dead';
    CREATE INDEX webhook_messages_age_idx ON webhook_messages (created_at);
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("DROP TABLE webhook_deliveries, webhook_messages");
}
