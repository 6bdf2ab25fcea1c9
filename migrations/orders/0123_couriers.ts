import type { Knex } from "knex";

// Indexes are created concurrently with writes.
export const config = { transaction: false };

/**
 * The pool by distance: the nearest neighbours of a point on a Mercator map, where distances around a point are in
 * proportion in all directions. The number of orders that a deliverer delivers: the index of all orders of a deliverer
 * would read those of years.
 */
const INDEXES = {
  orders_pool_place_idx:
    "orders USING gist (map_point(pickup_latitude, pickup_longitude)) WHERE status = 'ready' AND pickup_latitude IS NOT NULL",
  orders_pool_unplaced_idx: "orders (ready_since, id) WHERE status = 'ready' AND pickup_latitude IS NULL",
  orders_under_way_idx: "orders (deliverer_id) WHERE status = 'delivering'",
};

export async function up(knex: Knex): Promise<void> {
  // At the poles asinh is finite, where the usual formula with the logarithm fails.
  await knex.raw(`
    CREATE OR REPLACE FUNCTION map_point(latitude double precision, longitude double precision) RETURNS point
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN point(longitude, degrees(asinh(tan(radians(latitude)))))
  `);
  await knex.raw(`
    CREATE TABLE IF NOT EXISTS couriers (
      id uuid PRIMARY KEY,
      on_duty_since timestamptz,
      vehicle text CHECK (vehicle IN ('foot', 'bicycle', 'scooter', 'motorcycle', 'car', 'van')),
      -- Set by an operator; else the setting of the platform applies.
      orders_at_once integer CHECK (orders_at_once BETWEEN 1 AND 1000),
      latitude double precision CHECK (latitude BETWEEN -90 AND 90),
      longitude double precision CHECK (longitude BETWEEN -180 AND 180),
      position_at timestamptz,
      -- The last sign of the courier on duty. A duty without one for hours ends by itself.
      heard_at timestamptz NOT NULL DEFAULT now(),
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now(),
      CONSTRAINT couriers_whole_position CHECK (num_nulls(latitude, longitude, position_at) IN (0, 3)),
      CONSTRAINT couriers_position_on_duty CHECK (latitude IS NULL OR on_duty_since IS NOT NULL)
    ) WITH (fillfactor = 50)
  `);
  await knex.raw(
    "CREATE INDEX IF NOT EXISTS couriers_on_duty_idx ON couriers (id) WHERE on_duty_since IS NOT NULL",
  );
  await knex.raw(
    "CREATE INDEX IF NOT EXISTS couriers_heard_idx ON couriers (heard_at) WHERE on_duty_since IS NOT NULL",
  );
  for (const [name, definition] of Object.entries(INDEXES)) {
    // An interrupted attempt leaves an invalid index.
    await knex.raw(`DROP INDEX CONCURRENTLY IF EXISTS ${name}`);
    await knex.raw(`CREATE INDEX CONCURRENTLY ${name} ON ${definition}`);
  }
}

export async function down(knex: Knex): Promise<void> {
  for (const name of Object.keys(INDEXES)) await knex.raw(`DROP INDEX CONCURRENTLY IF EXISTS ${name}`);
  await knex.raw("DROP TABLE couriers");
  await knex.raw("DROP FUNCTION map_point");
}
