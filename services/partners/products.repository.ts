import type { Product } from "../../contracts/partners.ts";
import { affected, type Db, row, rows } from "../../mixins/postgres/database.ts";
import { searchWords } from "./search-words.ts";

export interface ProductRow extends Product {
  ownerPartnerId?: string;
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
const AVAILABILITY = "partner_id, product_id, price_minor, currency, stock, active, version";

type ProductTexts = Pick<Product, "title" | "description" | "brand" | "imageUrl">;

export async function insertProduct(
  db: Db,
  id: string,
  ownerPartnerId: string,
  texts: ProductTexts,
): Promise<ProductRow> {
  const { title, description, brand, imageUrl } = texts;
  const made = await row<ProductRow>(
    db,
    `INSERT INTO products (id, title, description, brand, image_url, owner_partner_id, words)
     VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING ${PRODUCT}`,
    [
      id,
      title,
      description ?? null,
      brand ?? null,
      imageUrl ?? null,
      ownerPartnerId,
      searchWords(title, brand, description),
    ],
  );
  return made as ProductRow;
}

/** Locks the product until the end of the transaction. */
export async function lockProduct(db: Db, id: string): Promise<ProductRow | undefined> {
  return await row<ProductRow>(db, `SELECT ${PRODUCT} FROM products WHERE id = ? FOR UPDATE`, [id]);
}

/** Replaces the texts of a product that the transaction has locked. */
export async function saveProductTexts(db: Db, id: string, texts: ProductTexts): Promise<ProductRow> {
  const { title, description, brand, imageUrl } = texts;
  const saved = await row<ProductRow>(
    db,
    `UPDATE products SET title = ?, description = ?, brand = ?, image_url = ?, words = ?,
       version = version + 1, updated_at = now()
     WHERE id = ? RETURNING ${PRODUCT}`,
    [title, description ?? null, brand ?? null, imageUrl ?? null, searchWords(title, brand, description), id],
  );
  return saved as ProductRow;
}

export async function isOfferedBy(db: Db, productId: string, partnerId: string): Promise<boolean> {
  const sql = "SELECT 1 FROM availability WHERE product_id = ? AND partner_id = ?";
  return (await affected(db, sql, [productId, partnerId])) > 0;
}

/**
 * Makes or replaces a partner's offer of a product. Answers undefined when there is no such product.
 * @throws the database's error 23503 for another currency than the partner's
 */
export async function upsertAvailability(
  db: Db,
  offer: Omit<AvailabilityRow, "version">,
): Promise<AvailabilityRow | undefined> {
  return await row<AvailabilityRow>(
    db,
    `INSERT INTO availability (partner_id, product_id, price_minor, currency, stock, active)
     SELECT ?, id, ?, ?, ?, ? FROM products WHERE id = ? FOR KEY SHARE
     ON CONFLICT (partner_id, product_id) DO UPDATE
       SET price_minor = excluded.price_minor, stock = excluded.stock, active = excluded.active,
           version = nextval('availability_versions'), updated_at = now()
     RETURNING ${AVAILABILITY}`,
    [offer.partnerId, offer.priceMinor, offer.currency, offer.stock ?? null, offer.active, offer.productId],
  );
}

/** Answers the offer as it is from now on: not active, and newer than it was. */
export async function deleteAvailability(
  db: Db,
  partnerId: string,
  productId: string,
): Promise<AvailabilityRow | undefined> {
  return await row<AvailabilityRow>(
    db,
    `DELETE FROM availability WHERE partner_id = ? AND product_id = ?
     RETURNING partner_id, product_id, price_minor, currency, stock, false AS active,
       nextval('availability_versions')::integer AS version`,
    [partnerId, productId],
  );
}

/** Counts every offer of a product as changed, because its texts are; answers them. */
export async function touchOffers(trx: Db, productId: string): Promise<AvailabilityRow[]> {
  return await rows<AvailabilityRow>(
    trx,
    `UPDATE availability SET version = nextval('availability_versions'), updated_at = now()
     WHERE product_id = ? RETURNING ${AVAILABILITY}`,
    [productId],
  );
}

/** After the last offer the product goes; while others offer it, it only loses `partnerId` as its owner. */
export async function abandonProduct(db: Db, productId: string, partnerId: string): Promise<void> {
  const gone = await affected(
    db,
    "DELETE FROM products p WHERE id = ? AND NOT EXISTS (SELECT 1 FROM availability WHERE product_id = p.id)",
    [productId],
  );
  if (gone > 0) return;
  await affected(
    db,
    `UPDATE products SET owner_partner_id = NULL, updated_at = now()
     WHERE id = ? AND owner_partner_id = ?`,
    [productId, partnerId],
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
    `SELECT a.partner_id, a.product_id, a.price_minor, a.currency, a.stock, a.active, a.version, r.title
     FROM availability a JOIN products r ON r.id = a.product_id
     WHERE a.partner_id = ? AND a.product_id = ANY (?::uuid[])`,
    [partnerId, productIds],
  );
}
