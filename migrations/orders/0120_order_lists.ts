import type { Knex } from "knex";
import { CREATE_SEARCH_LEXEMES, DROP_SEARCH_LEXEMES } from "../shared/search-lexemes.ts";

// Indexes are created concurrently with writes, and rows are copied in batches.
export const config = { transaction: false };

const BATCH = 5_000;

/**
 * Ended orders by state and payment, for all and for one partner: rows enter these indexes once, when the order ends. Open
 * orders by state: no other index sorts all orders by time, so PostgreSQL must use these for a list by state.
 */
const INDEXES = {
  orders_open_by_time_idx: "orders (status, created_at, id) WHERE closed_at IS NULL",
  orders_ended_idx: "orders (status, payment_status, created_at, id) WHERE closed_at IS NOT NULL",
  orders_ended_of_partner_idx:
    "orders (partner_id, status, payment_status, created_at, id) WHERE closed_at IS NOT NULL",
};

/** The partner is a word, so that a search of its staff reads the partner's orders only. No text contains such a word. */
const WORDS = (
  row: string,
) => `search_lexemes(${row}.customer_name || ' ' || coalesce(${row}.customer_phone, ''))
  || array_to_tsvector(ARRAY['partner:' || ${row}.partner_id])`;

/**
 * The search words are in a table of their own, written once: an index on `orders` would get a new entry with each move of
 * an order. A trigger writes them, so that an erasure cannot forget them.
 */
export async function up(knex: Knex): Promise<void> {
  for (const [name, definition] of Object.entries(INDEXES)) {
    // An interrupted attempt leaves an invalid index.
    await knex.raw(`DROP INDEX CONCURRENTLY IF EXISTS ${name}`);
    await knex.raw(`CREATE INDEX CONCURRENTLY ${name} ON ${definition}`);
  }
  await knex.raw("DROP INDEX CONCURRENTLY IF EXISTS orders_open_idx");
  await knex.raw(CREATE_SEARCH_LEXEMES);
  await knex.raw(`
    CREATE TABLE IF NOT EXISTS order_search (
      order_id uuid PRIMARY KEY,
      words tsvector NOT NULL,
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now()
    )
  `);
  await knex.raw("CREATE INDEX IF NOT EXISTS order_search_words_idx ON order_search USING gin (words)");
  await knex.raw(`
    CREATE OR REPLACE FUNCTION write_order_search() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      INSERT INTO order_search (order_id, words) VALUES (NEW.id, ${WORDS("NEW")})
      ON CONFLICT (order_id) DO UPDATE SET words = excluded.words, updated_at = now();
      RETURN NULL;
    END $$
  `);
  await knex.raw(`
    CREATE OR REPLACE TRIGGER orders_search_inserted AFTER INSERT ON orders
      FOR EACH ROW EXECUTE FUNCTION write_order_search()
  `);
  await knex.raw(`
    CREATE OR REPLACE TRIGGER orders_search_updated AFTER UPDATE OF customer_name, customer_phone ON orders
      FOR EACH ROW WHEN (OLD.customer_name IS DISTINCT FROM NEW.customer_name
        OR OLD.customer_phone IS DISTINCT FROM NEW.customer_phone)
      EXECUTE FUNCTION write_order_search()
  `);
  await copyOlderOrders(knex);
}

/** The orders from before the triggers. A row that a trigger has written meanwhile is newer and stays. */
async function copyOlderOrders(knex: Knex): Promise<void> {
  for (let after = "00000000-0000-0000-0000-000000000000"; ; ) {
    const { rows } = await knex.raw(
      `WITH batch AS (SELECT * FROM orders WHERE id > ? ORDER BY id LIMIT ${BATCH}),
       copied AS (
         INSERT INTO order_search (order_id, words) SELECT o.id, ${WORDS("o")} FROM batch o ON CONFLICT DO NOTHING)
       SELECT id FROM batch ORDER BY id DESC LIMIT 1`,
      [after],
    );
    const [last] = rows as { id: string }[];
    if (!last) return;
    after = last.id;
  }
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("DROP TRIGGER orders_search_inserted ON orders");
  await knex.raw("DROP TRIGGER orders_search_updated ON orders");
  await knex.raw("DROP FUNCTION write_order_search");
  await knex.raw("DROP TABLE order_search");
  await knex.raw(DROP_SEARCH_LEXEMES);
  await knex.raw("DROP INDEX CONCURRENTLY IF EXISTS orders_open_idx");
  await knex.raw("CREATE INDEX CONCURRENTLY orders_open_idx ON orders (status, id) WHERE closed_at IS NULL");
  for (const name of Object.keys(INDEXES)) await knex.raw(`DROP INDEX CONCURRENTLY IF EXISTS ${name}`);
}
