import type { Product } from "../../../contracts/catalogue.ts";
import { affected, type Db, row, rows } from "../../../lib/sql/database.ts";
import { storedWords, WORDS_VERSION } from "../domain/search-words.ts";

export interface ProductRow extends Product {
  /** The only partner that offers it. Its staff may change it. */
  ownerPartnerId: string;
}

export interface AvailabilityRow {
  partnerId: string;
  productId: string;
  priceMinor: number;
  currency: string;
  stock?: number;
  active: boolean;
  version: number;
}

const PRODUCT = "id, title, description, brand, image_url, owner_partner_id, version";
/** `revision` counts the changes of the offer. An earlier release counted them in `version`. */
const VERSION = "version + revision AS version";
const AVAILABILITY = `partner_id, product_id, price_minor, currency, stock, active, ${VERSION}`;

export interface LockedAvailability extends AvailabilityRow {
  /** Orders took or returned pieces since the partner last set the stock. */
  stockMoved: boolean;
}

type ProductTexts = Pick<Product, "title" | "description" | "brand" | "imageUrl">;

/**
 * Inserts a product of a partner.
 * @param copiedFrom the product of another partner that it copies
 * @returns undefined when the partner already has a copy of that product
 */
export async function insertProduct(
  db: Db,
  product: ProductTexts & { id: string; ownerPartnerId: string; copiedFrom?: string },
): Promise<ProductRow | undefined> {
  return await row<ProductRow>(
    db,
    `INSERT INTO products (id, title, description, brand, image_url, owner_partner_id, copied_from, words)
     VALUES (:id, :title, :description, :brand, :imageUrl, :ownerPartnerId, :copiedFrom, :words)
     ON CONFLICT (owner_partner_id, copied_from) DO NOTHING RETURNING ${PRODUCT}`,
    {
      ...textBindings(product),
      id: product.id,
      ownerPartnerId: product.ownerPartnerId,
      copiedFrom: product.copiedFrom ?? null,
    },
  );
}

/** Finds a product of any partner. */
export async function findProduct(db: Db, id: string): Promise<ProductRow | undefined> {
  return await row<ProductRow>(db, `SELECT ${PRODUCT} FROM products WHERE id = ?`, [id]);
}

/**
 * Finds the partner's product with this id, or its copy of another partner's product with this id.
 * @param lock locks it until the end of the transaction
 */
export async function findOwnProduct(
  db: Db,
  partnerId: string,
  productId: string,
  lock: "" | "FOR UPDATE" = "",
): Promise<ProductRow | undefined> {
  const of = (column: string) =>
    row<ProductRow>(
      db,
      `SELECT ${PRODUCT} FROM products WHERE owner_partner_id = ? AND ${column} = ? ${lock}`,
      [partnerId, productId],
    );
  return (await of("id")) ?? (await of("copied_from"));
}

/** Replaces the texts of a product that the transaction has locked. */
export async function saveProductTexts(db: Db, id: string, texts: ProductTexts): Promise<ProductRow> {
  const saved = await row<ProductRow>(
    db,
    `UPDATE products SET title = :title, description = :description, brand = :brand, image_url = :imageUrl,
       words = :words, version = version + 1, updated_at = now()
     WHERE id = :id RETURNING ${PRODUCT}`,
    { ...textBindings(texts), id },
  );
  return saved as ProductRow;
}

function textBindings({ title, description, brand, imageUrl }: ProductTexts) {
  return {
    title,
    description: description ?? null,
    brand: brand ?? null,
    imageUrl: imageUrl ?? null,
    words: storedWords(title, brand, description),
  };
}

/** Locks products with search words of another version. Skips products that are locked already. */
export async function lockProductsWithOutdatedWords(db: Db, limit: number): Promise<ProductRow[]> {
  return await rows<ProductRow>(
    db,
    `SELECT ${PRODUCT} FROM products WHERE words[1] IS DISTINCT FROM '${WORDS_VERSION}'
     ORDER BY id LIMIT ? FOR UPDATE SKIP LOCKED`,
    [limit],
  );
}

/** Replaces the search words of products that the transaction has locked. Does not change their versions. */
export async function saveWords(db: Db, products: readonly { id: string; words: string[] }[]): Promise<void> {
  await affected(
    db,
    `UPDATE products p SET words = n.words
     FROM jsonb_to_recordset(?::jsonb) AS n(id uuid, words text[]) WHERE p.id = n.id`,
    [JSON.stringify(products)],
  );
}

/** Deletes a product whose offer was deleted before. */
export async function deleteProductRow(db: Db, id: string): Promise<void> {
  await affected(db, "DELETE FROM products WHERE id = ?", [id]);
}

export async function findAvailability(db: Db, productId: string): Promise<AvailabilityRow | undefined> {
  return await row<AvailabilityRow>(db, `SELECT ${AVAILABILITY} FROM availability WHERE product_id = ?`, [
    productId,
  ]);
}

/** Locks the offer until the end of the transaction. */
export async function lockAvailability(db: Db, productId: string): Promise<LockedAvailability | undefined> {
  return await row<LockedAvailability>(
    db,
    `SELECT ${AVAILABILITY}, stock_moved FROM availability WHERE product_id = ? FOR UPDATE`,
    [productId],
  );
}

/** @throws the database's error 23503 for another currency than the partner's */
export async function insertAvailability(
  db: Db,
  offer: Omit<AvailabilityRow, "version">,
): Promise<AvailabilityRow> {
  const made = await row<AvailabilityRow>(
    db,
    `INSERT INTO availability (partner_id, product_id, price_minor, currency, stock, active, stock_moved)
     VALUES (:partnerId, :productId, :priceMinor, :currency, :stock, :active, false) RETURNING ${AVAILABILITY}`,
    { ...offer, stock: offer.stock ?? null },
  );
  return made as AvailabilityRow;
}

/** Changes an offer that the transaction has locked. `stock`: undefined leaves it, null makes the pieces uncounted. */
export async function saveAvailability(
  db: Db,
  productId: string,
  change: { priceMinor: number; active: boolean; stock: number | null | undefined },
): Promise<AvailabilityRow> {
  const saved = await row<AvailabilityRow>(
    db,
    `UPDATE availability SET price_minor = :priceMinor, active = :active,
       stock = CASE WHEN :keepsStock THEN stock ELSE CAST(:stock AS integer) END,
       stock_moved = stock_moved AND :keepsStock, revision = revision + 1, updated_at = now()
     WHERE product_id = :productId RETURNING ${AVAILABILITY}`,
    {
      ...{ productId, priceMinor: change.priceMinor, active: change.active },
      ...{ stock: change.stock ?? null, keepsStock: change.stock === undefined },
    },
  );
  return saved as AvailabilityRow;
}

/** Returns undefined for an uncounted stock, or when the result would be negative or above `max`. */
export async function addToStock(
  db: Db,
  productId: string,
  change: number,
  max: number,
): Promise<AvailabilityRow | undefined> {
  return await row<AvailabilityRow>(
    db,
    `UPDATE availability SET stock = stock + ?, revision = revision + 1, updated_at = now()
     WHERE product_id = ? AND stock::bigint + ? BETWEEN 0 AND greatest(stock, ?) RETURNING ${AVAILABILITY}`,
    [change, productId, change, max],
  );
}

/** Locks offers of a partner in the order of their products, as orders do. */
export async function lockOffers(trx: Db, partnerId: string, productIds: readonly string[]): Promise<void> {
  const sql = `SELECT 1 FROM availability WHERE partner_id = ? AND product_id = ANY (?::uuid[])
    ORDER BY product_id FOR UPDATE`;
  await affected(trx, sql, [partnerId, productIds]);
}

/**
 * Sets the stock of locked offers to 0, also if their pieces were not counted.
 * @param unchangedSince an offer that the partner has changed after this time stays as it is
 * @returns the changed offers
 */
export async function emptyStock(
  trx: Db,
  partnerId: string,
  productIds: readonly string[],
  unchangedSince: string,
): Promise<AvailabilityRow[]> {
  return await rows<AvailabilityRow>(
    trx,
    `UPDATE availability SET stock = 0, stock_moved = true, revision = revision + 1, updated_at = now()
     WHERE partner_id = ? AND product_id = ANY (?::uuid[]) AND stock IS DISTINCT FROM 0 AND updated_at <= ?
     RETURNING ${AVAILABILITY}`,
    [partnerId, productIds, unchangedSince],
  );
}

/** Deletes the offer. Returns it as inactive and with a newer version, for its last message. */
export async function deleteAvailability(db: Db, productId: string): Promise<AvailabilityRow | undefined> {
  return await row<AvailabilityRow>(
    db,
    `DELETE FROM availability WHERE product_id = ?
     RETURNING partner_id, product_id, price_minor, currency, stock, false AS active,
       version + revision + 1 AS version`,
    [productId],
  );
}

/** Increases the revision of an offer after a change of the product's texts, and returns the offer. */
export async function touchOffer(trx: Db, productId: string): Promise<AvailabilityRow | undefined> {
  return await row<AvailabilityRow>(
    trx,
    `UPDATE availability SET revision = revision + 1, updated_at = now()
     WHERE product_id = ? RETURNING ${AVAILABILITY}`,
    [productId],
  );
}

export interface OfferedProduct extends AvailabilityRow {
  title: string;
}

/** The offers of one partner for these products, including inactive ones. */
export async function offersOf(
  db: Db,
  partnerId: string,
  productIds: readonly string[],
): Promise<OfferedProduct[]> {
  return await rows<OfferedProduct>(
    db,
    `SELECT a.partner_id, a.product_id, a.price_minor, a.currency, a.stock, a.active,
       a.version + a.revision AS version, r.title
     FROM availability a JOIN products r ON r.id = a.product_id
     WHERE a.partner_id = ? AND a.product_id = ANY (?::uuid[])`,
    [partnerId, productIds],
  );
}
