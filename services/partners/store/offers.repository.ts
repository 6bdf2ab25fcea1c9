import { type Db, type Rows, rows, rowsPlannedAnew } from "../../../lib/sql/database.ts";

export interface OfferRow {
  productId: string;
  partnerId: string;
  partnerTitle: string;
  title: string;
  description?: string;
  brand?: string;
  imageUrl?: string;
  priceMinor: number;
  currency: string;
  stock?: number;
  active: boolean;
  version: number;
}

export interface OfferFilter {
  /** Only active offers of enabled and verified partners. */
  publicOnly: boolean;
  partnerId?: string | undefined;
  /** A tsquery from search-words.ts. */
  search?: string | undefined;
  after?: { productId: string; partnerId: string } | undefined;
  limit: number;
}

/**
 * A search with fewer matching products looks them up one by one. With more matches, a scan in list order finds enough of
 * them soon.
 */
const RARE_PRODUCTS = 2_000;

/**
 * One page of offers, ordered by product and partner.
 *
 * Either scans the list and filters by the text, or collects the matching products and sorts them. The better plan depends
 * on the number of matches. The planner only guesses that number (0.5 % for a word without statistics; with 100,000
 * products it then read all of them to find one), so this function counts the matches first with one short query.
 */
export async function listOffers(db: Db, filter: OfferFilter): Promise<Rows<OfferRow>> {
  if (filter.search === undefined) return await walk(db, filter);
  const found = await productsWith(db, filter.search);
  if (found.length === 0) return [];
  return await walk(db, filter, found.length < RARE_PRODUCTS ? found : undefined);
}

/** The matching products, at most RARE_PRODUCTS. Cheap for rare words (index) and for common words (start of the table). */
async function productsWith(db: Db, search: string): Promise<string[]> {
  const found = await rowsPlannedAnew<{ id: string }>(
    db,
    "SELECT id FROM products WHERE search @@ ?::tsquery LIMIT ?",
    [search, RARE_PRODUCTS],
  );
  return found.map(({ id }) => id);
}

/**
 * Scans the index in list order from the cursor until the page is full. OFFSET 0 forces a lookup of the product for each
 * offer: otherwise the planner starts a merge join at the first of all products.
 * @param among restricts the list to these products; without it the scan filters by the text
 */
async function walk(db: Db, filter: OfferFilter, among?: readonly string[]): Promise<Rows<OfferRow>> {
  const where: string[] = [];
  const bindings: unknown[] = [];
  const add = (condition: string, ...values: unknown[]) => {
    where.push(condition);
    bindings.push(...values);
  };
  const search = among ? undefined : filter.search;
  if (filter.publicOnly) add("a.active AND p.enabled AND p.verified");
  if (filter.partnerId) add("a.partner_id = ?", filter.partnerId);
  if (among) add("a.product_id = ANY (?::uuid[])", among);
  if (filter.after) {
    const { productId, partnerId } = filter.after;
    // Within one partner the primary key gives the order, but only to a comparison of the product alone.
    if (filter.partnerId) add("a.product_id > ?", productId);
    else add("(a.product_id, a.partner_id) > (?::uuid, ?::uuid)", productId, partnerId);
  }
  return await rows<OfferRow>(
    db,
    `SELECT a.product_id, a.partner_id, p.title AS partner_title, r.title, r.description, r.brand,
       r.image_url, a.price_minor, a.currency, a.stock, a.active, r.version
     FROM availability a
     JOIN partners p ON p.id = a.partner_id
     CROSS JOIN LATERAL (
       SELECT title, description, brand, image_url, version FROM products
       WHERE id = a.product_id ${search === undefined ? "" : "AND search @@ ?::tsquery"} OFFSET 0
     ) r
     ${where.length > 0 ? `WHERE ${where.join(" AND ")}` : ""}
     ORDER BY a.product_id, a.partner_id
     LIMIT ?`,
    [...(search === undefined ? [] : [search]), ...bindings, filter.limit],
  );
}
