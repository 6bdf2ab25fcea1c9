import type { Knex } from "knex";

// Rows are rewritten in batches.
export const config = { transaction: false };

const BATCH = 5_000;

/**
 * The word of an order's partner begins with a colon now. A search for "part" also found the former word "partner:…", and
 * so all orders; words of a search begin with a letter or a digit.
 */
export async function up(knex: Knex): Promise<void> {
  await rewrite(knex, "partner:", ":");
}

export async function down(knex: Knex): Promise<void> {
  await rewrite(knex, ":", "partner:");
}

async function rewrite(knex: Knex, former: string, next: string): Promise<void> {
  await knex.raw(`
    CREATE OR REPLACE FUNCTION write_order_search() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      INSERT INTO order_search (order_id, words)
      VALUES (NEW.id, search_lexemes(NEW.customer_name || ' ' || coalesce(NEW.customer_phone, ''))
        || array_to_tsvector(ARRAY['${next}' || NEW.partner_id]))
      ON CONFLICT (order_id) DO UPDATE SET words = excluded.words, updated_at = now();
      RETURN NULL;
    END $$
  `);
  for (let after = "00000000-0000-0000-0000-000000000000"; ; ) {
    const { rows } = await knex.raw(
      `WITH batch AS (SELECT id, partner_id FROM orders WHERE id > ? ORDER BY id LIMIT ${BATCH}),
       rewritten AS (
         UPDATE order_search s SET words = ts_delete(s.words, '${former}' || b.partner_id)
           || array_to_tsvector(ARRAY['${next}' || b.partner_id])
         FROM batch b WHERE s.order_id = b.id)
       SELECT id FROM batch ORDER BY id DESC LIMIT 1`,
      [after],
    );
    const [last] = rows as { id: string }[];
    if (!last) return;
    after = last.id;
  }
}
