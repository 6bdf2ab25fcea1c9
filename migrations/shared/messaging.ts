import type { Knex } from "knex";

/**
 * The tables for at-least-once messages, the same in every database: `outbox` (messages that this service publishes),
 * `inbox` (messages that it has received, a queue for each consumer group) and `idempotency_keys`.
 *
 * Every index on a queue is partial: it contains only waiting rows, so the cost of claiming does not depend on the
 * number of messages that were handled before.
 */
export async function messagingUp(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE outbox (
      id uuid PRIMARY KEY,
      source text NOT NULL CHECK (length(source) BETWEEN 1 AND 100),
      type text NOT NULL CHECK (length(type) BETWEEN 1 AND 60),
      subject text NOT NULL CHECK (length(subject) BETWEEN 1 AND 200),
      time timestamptz NOT NULL,
      dataschema text NOT NULL CHECK (length(dataschema) BETWEEN 1 AND 200),
      traceparent text CHECK (length(traceparent) <= 100),
      data jsonb NOT NULL,
      attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
      next_at timestamptz NOT NULL DEFAULT now(),
      error text CHECK (length(error) <= 2000),
      sent_at timestamptz,
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now()
    ) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000)
  `);
  // Messages that the message bus has refused have their own index, so that they do not delay new ones.
  await knex.raw("CREATE INDEX outbox_fresh ON outbox (next_at) WHERE sent_at IS NULL AND attempts = 0");
  await knex.raw("CREATE INDEX outbox_retried ON outbox (next_at) WHERE sent_at IS NULL AND attempts > 0");
  await knex.raw("CREATE INDEX outbox_sent ON outbox (sent_at) WHERE sent_at IS NOT NULL");

  await knex.raw(`
    CREATE TABLE inbox (
      message_id uuid NOT NULL,
      consumer text NOT NULL CHECK (length(consumer) BETWEEN 1 AND 60),
      source text NOT NULL CHECK (length(source) <= 100),
      type text NOT NULL CHECK (length(type) BETWEEN 1 AND 60),
      subject text NOT NULL CHECK (length(subject) <= 200),
      time timestamptz NOT NULL,
      dataschema text NOT NULL CHECK (length(dataschema) <= 200),
      traceparent text CHECK (length(traceparent) <= 100),
      data jsonb NOT NULL,
      state text NOT NULL DEFAULT 'waiting'
        CHECK (state IN ('waiting', 'done', 'dead', 'quarantined', 'dropped')),
      attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
      next_at timestamptz NOT NULL DEFAULT now(),
      lease_token uuid CHECK (lease_token IS NULL OR state = 'waiting'),
      error text CHECK (length(error) <= 2000),
      dead_letter_id uuid CHECK (dead_letter_id IS NOT NULL OR state NOT IN ('dead', 'quarantined')),
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (message_id, consumer)
    ) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000)
  `);
  await knex.raw("CREATE INDEX inbox_waiting ON inbox (consumer, next_at) WHERE state = 'waiting'");
  await knex.raw(
    "CREATE UNIQUE INDEX inbox_dead_letters ON inbox (dead_letter_id) WHERE state IN ('dead', 'quarantined')",
  );

  // The answer is json, not jsonb, so that a replay is the same text with the names in the same order.
  await knex.raw(`
    CREATE TABLE idempotency_keys (
      user_id text NOT NULL CHECK (length(user_id) BETWEEN 1 AND 100),
      scope text NOT NULL CHECK (length(scope) BETWEEN 1 AND 100),
      key text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
      body_hash text NOT NULL CHECK (length(body_hash) <= 128),
      answer json,
      lease_token uuid,
      lease_until timestamptz,
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (user_id, scope, key),
      CHECK (answer IS NOT NULL OR (lease_token IS NOT NULL AND lease_until IS NOT NULL))
    )
  `);
  await knex.raw("CREATE INDEX idempotency_keys_created_at ON idempotency_keys (created_at)");
}

export async function messagingDown(knex: Knex): Promise<void> {
  await knex.raw("DROP TABLE idempotency_keys, inbox, outbox");
}
