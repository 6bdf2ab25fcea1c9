import type { Product } from "../../../contracts/catalogue.ts";
import { affected, type Db, row, rows } from "../../../lib/sql/database.ts";
import { storedWords, WORDS_MARK } from "../domain/search-words.ts";

export interface ProductRow extends Product {
  /** The one partner that offers it, whose staff may change it. */
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
/** Its own changes are counted in `revision`, on top of what an earlier release counted in `version`. */
const VERSION = "version + revision AS version";
const AVAILABILITY = `partner_id, product_id, price_minor, currency, stock, active, ${VERSION}`;

export interface LockedAvailability extends AvailabilityRow {
  /** Orders took or gave back pieces since the partner last said how many there are. */
  stockMoved: boolean;
}

type ProductTexts = Pick<Product, "title" | "description" | "brand" | "imageUrl">;

/**
 * A new product of a partner.
 * @param copiedFrom the product of another partner whose texts these are
 * @returns undefined when the partner has a copy of that product already
 */
export async function insertProduct(
  db: Db,
  product: ProductTexts & { id: string; ownerPartnerId: string; copiedFrom?: string },
): Promise<ProductRow | undefined> {
  const { title, description, brand, imageUrl } = product;
  return await row<ProductRow>(
    db,
    `INSERT INTO products (id, title, description, brand, image_url, owner_partner_id, copied_from, words)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (owner_partner_id, copied_from) DO NOTHING RETURNING ${PRODUCT}`,
    [
      product.id,
      title,
      description ?? null,
      brand ?? null,
      imageUrl ?? null,
      product.ownerPartnerId,
      product.copiedFrom ?? null,
      storedWords(title, brand, description),
    ],
  );
}

/** The product of whichever partner, as it can be copied. */
export async function findProduct(db: Db, id: string): Promise<ProductRow | undefined> {
  return await row<ProductRow>(db, `SELECT ${PRODUCT} FROM products WHERE id = ?`, [id]);
}

/**
 * The partner's own product, or its copy of another's product with this id.
 * @param lock until the end of the transaction
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
  const { title, description, brand, imageUrl } = texts;
  const saved = await row<ProductRow>(
    db,
    `UPDATE products SET title = ?, description = ?, brand = ?, image_url = ?, words = ?,
       version = version + 1, updated_at = now()
     WHERE id = ? RETURNING ${PRODUCT}`,
    [title, description ?? null, brand ?? null, imageUrl ?? null, storedWords(title, brand, description), id],
  );
  return saved as ProductRow;
}

/** Locks products whose words were made by other rules than the present ones; those that others have locked wait. */
export async function lockProductsWithOldWords(db: Db, limit: number): Promise<ProductRow[]> {
  return await rows<ProductRow>(
    db,
    `SELECT ${PRODUCT} FROM products WHERE words[1] IS DISTINCT FROM '${WORDS_MARK}'
     ORDER BY id LIMIT ? FOR UPDATE SKIP LOCKED`,
    [limit],
  );
}

/** Replaces the words of products that the transaction has locked; to those who read them they are unchanged. */
export async function saveWords(db: Db, products: readonly { id: string; words: string[] }[]): Promise<void> {
  await affected(
    db,
    `UPDATE products p SET words = n.words
     FROM jsonb_to_recordset(?::jsonb) AS n(id uuid, words text[]) WHERE p.id = n.id`,
    [JSON.stringify(products)],
  );
}

/** The product itself; its offer has gone before. */
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
     VALUES (?, ?, ?, ?, ?, ?, false) RETURNING ${AVAILABILITY}`,
    [offer.partnerId, offer.productId, offer.priceMinor, offer.currency, offer.stock ?? null, offer.active],
  );
  return made as AvailabilityRow;
}

/** Changes what is given of an offer that the transaction has locked; null ends the counting of pieces. */
export async function saveAvailability(
  db: Db,
  productId: string,
  change: { priceMinor: number; active: boolean; stock: number | null | undefined },
): Promise<AvailabilityRow> {
  const saved = await row<AvailabilityRow>(
    db,
    `UPDATE availability SET price_minor = ?, active = ?, stock = CASE WHEN ? THEN ?::integer ELSE stock END,
       stock_moved = stock_moved AND ?, revision = revision + 1, updated_at = now()
     WHERE product_id = ? RETURNING ${AVAILABILITY}`,
    [
      change.priceMinor,
      change.active,
      change.stock !== undefined,
      change.stock ?? null,
      change.stock === undefined,
      productId,
    ],
  );
  return saved as AvailabilityRow;
}

/** Answers undefined where pieces are not counted, or there would be fewer than none or more than `max`. */
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

/** Answers the offer as it is from now on: not active, and newer than it was. */
export async function deleteAvailability(db: Db, productId: string): Promise<AvailabilityRow | undefined> {
  return await row<AvailabilityRow>(
    db,
    `DELETE FROM availability WHERE product_id = ?
     RETURNING partner_id, product_id, price_minor, currency, stock, false AS active,
       version + revision + 1 AS version`,
    [productId],
  );
}

/** Counts the offer of a product as changed, because its texts are; answers it. */
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

/** What one partner offers of these products, active or not. */
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
