import type { Knex } from "knex";

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE stock_reservations (
      order_id uuid PRIMARY KEY,
      -- Absent if the order's end was received before its reservation.
      partner_id uuid REFERENCES partners (id),
      state text NOT NULL CHECK (state IN ('held', 'committed', 'released')),
      expires_at timestamptz,
      -- The newest version of the order in a message. 0 before the first message.
      order_version integer NOT NULL DEFAULT 0 CHECK (order_version >= 0),
      reason text CHECK (length(reason) <= 60),
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now(),
      CHECK (partner_id IS NOT NULL OR state = 'released'),
      CHECK (state <> 'held' OR expires_at IS NOT NULL)
    );
    -- For the sweeper: reservations of orders without any message.
    CREATE INDEX stock_reservations_unheard_idx ON stock_reservations (expires_at)
      WHERE state = 'held' AND order_version = 0;
    CREATE INDEX stock_reservations_closed_idx ON stock_reservations (updated_at) WHERE state <> 'held';

    CREATE TABLE stock_reservation_lines (
      order_id uuid NOT NULL REFERENCES stock_reservations (order_id) ON DELETE CASCADE,
      product_id uuid NOT NULL,
      quantity integer NOT NULL CHECK (quantity BETWEEN 1 AND 99),
      unit_price_minor bigint NOT NULL CHECK (unit_price_minor >= 0),
      -- Pieces taken from the stock and not returned. 0 if the partner does not count them.
      taken integer NOT NULL CHECK (taken IN (0, quantity)),
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (order_id, product_id)
    );
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("DROP TABLE stock_reservation_lines, stock_reservations");
}
