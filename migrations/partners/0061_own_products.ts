import type { Knex } from "knex";
import { newId } from "../../lib/ids.ts";

// Indexes are created concurrently with writes, and each shared product is copied in a transaction of its own.
export const config = { transaction: false };

/**
 * From now on, a product belongs to the one partner that offers it. A product of several partners stays with its owner,
 * or with the partner that offered it first. Each other partner gets a copy, and its offer and the reserved pieces of
 * its orders move to that copy. A foreign key enforces it.
 */
export async function up(knex: Knex): Promise<void> {
  await buildIndex(knex, "UNIQUE", "products_copies_key", "products (owner_partner_id, copied_from)");
  await buildIndex(knex, "UNIQUE", "products_owned_key", "products (id, owner_partner_id)");
  await knex.raw("DROP INDEX CONCURRENTLY IF EXISTS products_owner_idx");
  await buildIndex(knex, "", "stock_reservation_lines_product_idx", "stock_reservation_lines (product_id)");
  // NOT VALID: it applies to new writes only, including those of the previous release.
  await knex.raw(`
    ALTER TABLE availability DROP CONSTRAINT IF EXISTS availability_own_product;
    ALTER TABLE availability ADD CONSTRAINT availability_own_product
      FOREIGN KEY (product_id, partner_id) REFERENCES products (id, owner_partner_id) NOT VALID
  `);
  let done = false;
  while (!done) {
    const shared = await productsWithoutTheirOwnOffer(knex);
    for (const id of shared) await knex.transaction((trx) => separate(trx, id));
    done = shared.length === 0;
  }
  await knex.raw("DROP INDEX CONCURRENTLY stock_reservation_lines_product_idx");
  await knex.raw("ALTER TABLE availability VALIDATE CONSTRAINT availability_own_product");
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("ALTER TABLE availability DROP CONSTRAINT IF EXISTS availability_own_product");
  for (const name of ["products_owned_key", "products_copies_key", "stock_reservation_lines_product_idx"]) {
    await knex.raw(`DROP INDEX CONCURRENTLY IF EXISTS ${name}`);
  }
  await buildIndex(knex, "", "products_owner_idx", "products (owner_partner_id)");
}

const BATCH = 1_000;

/** An interrupted attempt leaves an invalid index. */
async function buildIndex(knex: Knex, unique: string, name: string, on: string): Promise<void> {
  await knex.raw(`DROP INDEX CONCURRENTLY IF EXISTS ${name}`);
  await knex.raw(`CREATE ${unique} INDEX CONCURRENTLY ${name} ON ${on}`);
}

async function productsWithoutTheirOwnOffer(knex: Knex): Promise<string[]> {
  const { rows } = await knex.raw(
    `SELECT DISTINCT a.product_id FROM availability a JOIN products p ON p.id = a.product_id
     WHERE p.owner_partner_id IS DISTINCT FROM a.partner_id LIMIT ?`,
    [BATCH],
  );
  return (rows as { product_id: string }[]).map((row) => row.product_id);
}

async function separate(trx: Knex.Transaction, productId: string): Promise<void> {
  await trx.raw("SELECT 1 FROM products WHERE id = ? FOR UPDATE", [productId]);
  const { rows } = await trx.raw(
    `SELECT a.partner_id, p.owner_partner_id FROM availability a JOIN products p ON p.id = a.product_id
     WHERE a.product_id = ? ORDER BY (a.partner_id = p.owner_partner_id) DESC NULLS LAST, a.created_at, a.partner_id`,
    [productId],
  );
  const [keeper, ...others] = rows as { partner_id: string; owner_partner_id: string | null }[];
  if (!keeper) return;
  if (keeper.owner_partner_id !== keeper.partner_id) {
    const own = "UPDATE products SET owner_partner_id = ?, updated_at = now() WHERE id = ?";
    await trx.raw(own, [keeper.partner_id, productId]);
  }
  for (const { partner_id: partnerId } of others) await copy(trx, productId, partnerId);
}

async function copy(trx: Knex.Transaction, productId: string, partnerId: string): Promise<void> {
  // Reservations first: an order that returns pieces locks its reservation before it finds the offer. So it finds both
  // by the old id or both by the new one.
  await trx.raw(
    `SELECT 1 FROM stock_reservations r
     WHERE r.partner_id = ?
       AND r.order_id IN (SELECT order_id FROM stock_reservation_lines WHERE product_id = ?)
     ORDER BY r.order_id FOR UPDATE`,
    [partnerId, productId],
  );
  const offer = [partnerId, productId];
  await trx.raw("SELECT 1 FROM availability WHERE partner_id = ? AND product_id = ? FOR UPDATE", offer);
  const copyId = newId();
  await trx.raw(
    `INSERT INTO products (id, title, description, brand, image_url, owner_partner_id, copied_from, words)
     SELECT ?, title, description, brand, image_url, ?, id, words FROM products WHERE id = ?`,
    [copyId, partnerId, productId],
  );
  await trx.raw(
    `UPDATE availability SET product_id = ?, revision = revision + 1, updated_at = now()
     WHERE partner_id = ? AND product_id = ?`,
    [copyId, ...offer],
  );
  await trx.raw(
    `UPDATE stock_reservation_lines l SET product_id = ?, updated_at = now() FROM stock_reservations r
     WHERE r.order_id = l.order_id AND r.partner_id = ? AND l.product_id = ?`,
    [copyId, ...offer],
  );
}
