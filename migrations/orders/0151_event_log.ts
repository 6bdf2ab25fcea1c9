import type { Knex } from "knex";

/**
 * The event log, from which the gateways feed the streams of partners, couriers and operators. `id` is the place of an
 * entry: microseconds since 1970, ascending in the order of the commits. The first entry marks the beginning, so that a
 * stream always has a place to resume from. `in_pool` and `offered_to`: the state of the order when the entry was written,
 * for a move to or from `ready`.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE event_log (
      id bigint PRIMARY KEY CHECK (id > 0),
      message_id uuid NOT NULL UNIQUE,
      kind text NOT NULL CHECK (kind IN ('start', 'move', 'alert', 'duty')),
      order_id uuid,
      partner_id uuid,
      in_pool boolean,
      offered_to uuid,
      data jsonb NOT NULL CHECK (jsonb_typeof(data) = 'object'),
      created_at timestamptz NOT NULL DEFAULT now()
    )
  `);
  await knex.raw(
    "CREATE INDEX event_log_partner_idx ON event_log (partner_id, id) WHERE partner_id IS NOT NULL",
  );
  await knex.raw("CREATE INDEX event_log_pool_idx ON event_log (order_id, id) WHERE in_pool IS NOT NULL");
  await knex.raw(`
    INSERT INTO event_log (id, message_id, kind, data)
    VALUES ((extract(epoch FROM clock_timestamp()) * 1000000)::bigint, gen_random_uuid(), 'start', '{}')
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("DROP TABLE event_log");
}
