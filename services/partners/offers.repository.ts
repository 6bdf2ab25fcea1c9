import { type Db, rows } from "../../mixins/postgres/database.ts";

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

/** The statement of one page of offers, ordered by product and partner; exported for the test of its plan. */
export function offersStatement(filter: OfferFilter): { sql: string; bindings: unknown[] } {
  const where: string[] = [];
  const bindings: unknown[] = [];
  const add = (condition: string, ...values: unknown[]) => {
    where.push(condition);
    bindings.push(...values);
  };
  if (filter.publicOnly) add("a.active AND p.enabled AND p.verified");
  if (filter.search !== undefined) add("r.search @@ ?::tsquery", filter.search);
  if (filter.partnerId) add("a.partner_id = ?", filter.partnerId);
  if (filter.after) {
    const { productId, partnerId } = filter.after;
    // Within one partner the primary key gives the order, but only to a comparison of the product alone.
    if (filter.partnerId) add("a.product_id > ?", productId);
    else add("(a.product_id, a.partner_id) > (?::uuid, ?::uuid)", productId, partnerId);
  }
  const sql = `SELECT a.product_id, a.partner_id, p.title AS partner_title, r.title, r.description, r.brand,
       r.image_url, a.price_minor, a.currency, a.stock, a.active, r.version
     FROM availability a
     JOIN products r ON r.id = a.product_id
     JOIN partners p ON p.id = a.partner_id
     ${where.length > 0 ? `WHERE ${where.join(" AND ")}` : ""}
     ORDER BY a.product_id, a.partner_id
     LIMIT ?`;
  return { sql, bindings: [...bindings, filter.limit] };
}

export async function listOffers(db: Db, filter: OfferFilter): Promise<OfferRow[]> {
  const { sql, bindings } = offersStatement(filter);
  return await rows<OfferRow>(db, sql, bindings);
}
