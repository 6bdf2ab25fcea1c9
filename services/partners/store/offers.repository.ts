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
  /** Only active offers of partners that customers may meet. */
  publicOnly: boolean;
  partnerId?: string | undefined;
  /** A tsquery, as search-words.ts makes it. */
  search?: string | undefined;
  after?: { productId: string; partnerId: string } | undefined;
  limit: number;
}

/**
 * So many products at most are looked up one by one for a word; a word of more is common enough that walking
 * the list in order soon meets it.
 */
const RARE_PRODUCTS = 2_000;

/**
 * One page of offers, ordered by product and partner.
 *
 * Whether to walk the list and filter by the text, or to collect what has the text and sort it, is a question of
 * how many products have it. The planner guesses that (0.5 % for a word that its statistics do not know, and at
 * 100,000 products it then read all of them to find one), so it is asked here, at the cost of one short look.
 */
export async function listOffers(db: Db, filter: OfferFilter): Promise<Rows<OfferRow>> {
  if (filter.search === undefined) return await walk(db, filter);
  const found = await productsWith(db, filter.search);
  if (found.length === 0) return [];
  return await walk(db, filter, found.length < RARE_PRODUCTS ? found : undefined);
}

/** The products with the text, or the first ones of too many. Cheap both ways: index or the table's beginning. */
async function productsWith(db: Db, search: string): Promise<string[]> {
  const found = await rowsPlannedAnew<{ id: string }>(
    db,
    "SELECT id FROM products WHERE search @@ ?::tsquery LIMIT ?",
    [search, RARE_PRODUCTS],
  );
  return found.map(({ id }) => id);
}

/**
 * From the cursor on through the index that has the list's order, until the page is full. The product is looked
 * up for each offer (a subquery with OFFSET is never joined another way): the planner would else begin a merge
 * join at the first of all products.
 * @param among the only products that are wanted; without them the text is looked for on the way
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
