import type { Params, Result } from "../../../contracts/actions.ts";
import { type Availability, type Offer, type Product, STOCK_MAX } from "../../../contracts/catalogue.ts";
import { fail, invalidField } from "../../../contracts/errors.ts";
import type { Ctx } from "../../../contracts/meta.ts";
import { isEmptyChange } from "../../../lib/changes.ts";
import { newId } from "../../../lib/ids.ts";
import { omitUndefined } from "../../../lib/omit-undefined.ts";
import type { Transaction } from "../../../lib/sql/database.ts";
import { callerOf } from "../../../mixins/caller/caller.ts";
import { audit, fieldsOf } from "../../../mixins/outbox/audit.ts";
import { idempotent } from "../../../mixins/postgres/idempotency.ts";
import type { PartnersDependencies } from "../dependencies.ts";
import { searchQuery } from "../domain/search-words.ts";
import { listOffers as findOffers } from "../store/offers.repository.ts";
import { findPartner, type PartnerRow } from "../store/partners.repository.ts";
import {
  type AvailabilityRow,
  addToStock,
  deleteAvailability,
  deleteProductRow,
  findAvailability,
  findOwnProduct,
  findProduct,
  insertAvailability,
  insertProduct,
  lockAvailability,
  type ProductRow,
  saveAvailability,
  saveProductTexts,
  touchOffer,
} from "../store/products.repository.ts";
import { announceAvailability } from "../use-cases/announce-availability.ts";
import { availabilityView, offerView, productView } from "../use-cases/views.ts";
import { managerOf, manages, noSuchPartner } from "./access.ts";
import { afterOf, pageOf } from "./pages.ts";

const DEFAULT_PAGE_SIZE = 20;

type Listing = Params<"partners.listOffers">;
type Offers = Result<"partners.listOffers">;

/**
 * Lists offers by pages. Staff see the offers of their own partner. They, and operators who name a partner, also see
 * inactive offers.
 */
export async function listOffers(deps: PartnersDependencies, ctx: Ctx<Listing>): Promise<Offers> {
  const caller = callerOf(ctx);
  const { cursor, limit = DEFAULT_PAGE_SIZE, q } = ctx.params;
  const partnerId = ctx.params.partnerId ?? (caller.role === "partner" ? caller.partnerId : undefined);
  const managed = partnerId !== undefined && manages(caller, partnerId);
  if (caller.role === "partner" && !managed) throw noSuchPartner();
  const isFrontPage = !managed && cursor === undefined && q === undefined && limit === DEFAULT_PAGE_SIZE;
  if (isFrontPage) return await ctx.call<Offers, Listing>(FRONT_PAGE, omitUndefined({ partnerId }));
  return await offersPage(deps, { ...ctx.params, partnerId }, managed);
}

/** The action for the first page without a search. Only this page is cached, so that the cache stays small. */
export const FRONT_PAGE = "partners.frontPage";

/** Reads one page of offers. @param managed true for operators and staff of the partner: includes inactive offers */
export async function offersPage(
  { postgres }: Pick<PartnersDependencies, "postgres">,
  { partnerId, cursor, limit = DEFAULT_PAGE_SIZE, q }: Listing,
  managed: boolean,
): Promise<Offers> {
  const [productId, ofPartnerId] = afterOf(cursor, 2) ?? [];
  const search = q === undefined ? undefined : searchQuery(q);
  if (q !== undefined && search === undefined) return { items: [] };
  const found = await findOffers(postgres.db, {
    publicOnly: !managed,
    partnerId,
    search,
    after: productId && ofPartnerId ? { productId, partnerId: ofPartnerId } : undefined,
    limit: limit + 1,
  });
  return pageOf(
    found,
    limit,
    (offer) => [offer.productId, offer.partnerId],
    (offer) => offerView(offer, managed),
  );
}

/** Creates a product and its active offer. @throws VALIDATION_ERROR for another currency than the partner's */
export async function createProduct(
  deps: PartnersDependencies,
  ctx: Ctx<Params<"partners.createProduct">>,
): Promise<Offer> {
  managerOf(ctx);
  return await idempotent(deps.postgres, ctx, "partners.createProduct", async (trx) => {
    const { partnerId, price, stock, ...texts } = ctx.params;
    const partner = await partnerWithCurrency(trx, partnerId, price.currency);
    const product = await insertProduct(trx, {
      id: newId(deps.clock.now()),
      ownerPartnerId: partnerId,
      ...texts,
    });
    if (!product) throw fail("INTERNAL");
    const offered = await insertAvailability(trx, {
      ...{ partnerId, productId: product.id, priceMinor: price.amountMinor, currency: price.currency },
      ...omitUndefined({ stock: stock ?? undefined }),
      active: true,
    });
    await announceAvailability(deps, trx, offered, false);
    await audit(deps.outbox, trx, ctx, product.id);
    const { version, description, brand, imageUrl } = product;
    const shown = { title: product.title, description, brand, imageUrl, partnerTitle: partner.title };
    return offerView({ ...offered, ...omitUndefined(shown), version }, true);
  });
}

/** Changes the texts of a product. @throws NOT_FOUND also for a product of another partner, PRECONDITION_FAILED */
export async function updateProduct(
  deps: PartnersDependencies,
  ctx: Ctx<Params<"partners.updateProduct">>,
): Promise<Product> {
  managerOf(ctx);
  const { partnerId, productId, expectedVersion, ...change } = ctx.params;
  return await deps.postgres.transact(async (trx) => {
    const product = await ownProduct(trx, partnerId, productId);
    if (expectedVersion !== undefined && expectedVersion !== product.version)
      throw fail("PRECONDITION_FAILED");
    if (isEmptyChange(change)) return productView(product);
    const saved = await saveProductTexts(trx, product.id, textsAfter(product, change));
    const offer = await touchOffer(trx, product.id);
    if (offer) await announceAvailability(deps, trx, offer, false);
    await audit(deps.outbox, trx, ctx, product.id, fieldsOf(change));
    return productView(saved);
  });
}

/** Deletes the product and its offer. */
export async function deleteProduct(
  deps: PartnersDependencies,
  ctx: Ctx<Params<"partners.deleteProduct">>,
): Promise<Record<string, never>> {
  managerOf(ctx);
  const { partnerId, productId } = ctx.params;
  await deps.postgres.transact(async (trx) => {
    const { id } = await ownProduct(trx, partnerId, productId);
    const deleted = await deleteAvailability(trx, id);
    await deleteProductRow(trx, id);
    if (deleted) await announceAvailability(deps, trx, deleted, true);
    await audit(deps.outbox, trx, ctx, id, `of partner ${partnerId}`);
  });
  return {};
}

/** @throws NOT_FOUND for a product that the partner does not offer */
export async function getAvailability(
  { postgres }: PartnersDependencies,
  ctx: Ctx<Params<"partners.getAvailability">>,
): Promise<Availability> {
  managerOf(ctx);
  const { partnerId, productId } = ctx.params;
  const product = await findOwnProduct(postgres.db, partnerId, productId);
  const offer = product && (await findAvailability(postgres.db, product.id));
  if (!offer) throw noSuchProduct();
  return availabilityView(offer);
}

/**
 * Sets the price, the active flag and, if given, the stock of an offer. For a product of another partner, the first call
 * creates a copy of the product for this partner.
 * @throws PRECONDITION_FAILED; PRECONDITION_REQUIRED when orders have changed the stock and the caller sets it without
 *   the version that it has read
 */
export async function setAvailability(
  deps: PartnersDependencies,
  ctx: Ctx<Params<"partners.setAvailability">>,
): Promise<Availability> {
  managerOf(ctx);
  return await idempotent(deps.postgres, ctx, "partners.setAvailability", async (trx) => {
    const { partnerId, productId, price } = ctx.params;
    await partnerWithCurrency(trx, partnerId, price.currency);
    const known = await findOwnProduct(trx, partnerId, productId);
    const saved = known
      ? await changeOffer(trx, known.id, ctx.params)
      : await createOffer(trx, deps, ctx.params);
    await audit(deps.outbox, trx, ctx, saved.productId, `of partner ${partnerId}`);
    return await announceAvailability(deps, trx, saved, false);
  });
}

async function changeOffer(
  trx: Transaction,
  productId: string,
  { price, stock, active, expectedVersion }: Params<"partners.setAvailability">,
): Promise<AvailabilityRow> {
  const offer = await lockAvailability(trx, productId);
  if (!offer) throw noSuchProduct();
  if (expectedVersion !== undefined && expectedVersion !== offer.version) throw fail("PRECONDITION_FAILED");
  // Without this check, pieces that orders took since the caller read the stock would be sold twice.
  const isRecounted = stock !== undefined && offer.stock !== undefined && stock !== offer.stock;
  if (isRecounted && offer.stockMoved && expectedVersion === undefined) {
    throw fail(
      "PRECONDITION_REQUIRED",
      "Orders have changed the stock since it was set: send the ETag that it was seen with, or a difference.",
    );
  }
  return await saveAvailability(trx, productId, { priceMinor: price.amountMinor, active, stock });
}

/** @throws NOT_FOUND when no partner has this product */
async function createOffer(
  trx: Transaction,
  { clock }: Pick<PartnersDependencies, "clock">,
  { partnerId, productId, price, stock, active, expectedVersion }: Params<"partners.setAvailability">,
): Promise<AvailabilityRow> {
  const source = await findProduct(trx, productId);
  if (!source) throw noSuchProduct();
  if (expectedVersion !== undefined) throw fail("PRECONDITION_FAILED");
  const { title, description, brand, imageUrl } = source;
  const texts = omitUndefined({ title, description, brand, imageUrl });
  const copy = { id: newId(clock.now()), ownerPartnerId: partnerId, copiedFrom: productId, ...texts };
  const made = await insertProduct(trx, copy);
  if (made) {
    return await insertAvailability(trx, {
      ...{ partnerId, productId: made.id, priceMinor: price.amountMinor, currency: price.currency },
      ...omitUndefined({ stock: stock ?? undefined }),
      active,
    });
  }
  // A concurrent request of this partner has created the copy.
  const other = await findOwnProduct(trx, partnerId, productId);
  if (!other) throw noSuchProduct();
  return await changeOffer(trx, other.id, { partnerId, productId, price, stock, active });
}

/**
 * Adds pieces to a stock, or removes them when `change` is negative.
 * @throws PRODUCT_UNAVAILABLE when fewer pieces are left, VALIDATION_ERROR for an uncounted stock or above the maximum
 */
export async function changeStock(
  deps: PartnersDependencies,
  ctx: Ctx<Params<"partners.changeStock">>,
): Promise<Availability> {
  managerOf(ctx);
  return await idempotent(deps.postgres, ctx, "partners.changeStock", async (trx) => {
    const { partnerId, productId, change } = ctx.params;
    const product = await findOwnProduct(trx, partnerId, productId);
    if (!product) throw noSuchProduct();
    const saved = await addToStock(trx, product.id, change, STOCK_MAX);
    if (!saved) throw await stockRefusal(trx, product.id, change);
    await audit(deps.outbox, trx, ctx, product.id, `of partner ${partnerId}`);
    return await announceAvailability(deps, trx, saved, false);
  });
}

async function stockRefusal(trx: Transaction, productId: string, change: number): Promise<Error> {
  const offer = await findAvailability(trx, productId);
  if (!offer) return noSuchProduct();
  const { stock } = offer;
  if (stock === undefined)
    return invalidField("change", "counted", "The pieces of this offer are not counted.");
  if (change > 0) return invalidField("change", "max", `There may be ${STOCK_MAX} pieces at most.`);
  return fail("PRODUCT_UNAVAILABLE", `There are ${stock} pieces.`, { productId, available: stock });
}

async function partnerWithCurrency(
  trx: Transaction,
  partnerId: string,
  currency: string,
): Promise<PartnerRow> {
  const partner = await findPartner(trx, partnerId);
  if (!partner) throw noSuchPartner();
  if (partner.currency === currency) return partner;
  throw invalidField("price.currency", "currency", `This partner's prices are in ${partner.currency}.`);
}

/** Locks the partner's product until the end of the transaction. @throws NOT_FOUND */
async function ownProduct(trx: Transaction, partnerId: string, productId: string): Promise<ProductRow> {
  const product = await findOwnProduct(trx, partnerId, productId, "FOR UPDATE");
  if (!product) throw noSuchProduct();
  return product;
}

type ProductChange = Omit<Params<"partners.updateProduct">, "partnerId" | "productId" | "expectedVersion">;

/** Returns the texts after a change. Null or an empty text removes an optional field. */
function textsAfter(product: ProductRow, change: ProductChange): Omit<Product, "id" | "version"> {
  const { title, description, brand, imageUrl } = { ...product, ...change };
  return {
    title,
    ...(description && { description }),
    ...(brand && { brand }),
    ...(imageUrl && { imageUrl }),
  };
}

function noSuchProduct(): Error {
  return fail("NOT_FOUND", "This partner offers no such product.");
}
