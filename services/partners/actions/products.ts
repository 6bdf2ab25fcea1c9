import type { Knex } from "knex";
import type { Params, Result } from "../../../contracts/actions.ts";
import { type Availability, type Offer, type Product, STOCK_MAX } from "../../../contracts/catalogue.ts";
import { fail, invalidField } from "../../../contracts/errors.ts";
import { message } from "../../../contracts/messages.ts";
import type { Ctx } from "../../../contracts/meta.ts";
import { isEmptyChange } from "../../../lib/changes.ts";
import { newId } from "../../../lib/ids.ts";
import { omitUndefined } from "../../../lib/omit-undefined.ts";
import { callerOf } from "../../../mixins/caller/caller.ts";
import { audit, fieldsOf } from "../../../mixins/outbox/audit.ts";
import type { PartnersDependencies } from "../dependencies.ts";
import { searchQuery } from "../domain/search-words.ts";
import { listOffers as findOffers } from "../store/offers.repository.ts";
import { afterOf, pageOf } from "../store/pages.ts";
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
import { availabilityView, offerView, productView } from "../store/views.ts";
import { managerOf, manages, noSuchPartner } from "./access.ts";

const DEFAULT_PAGE_SIZE = 20;

type Listing = Params<"partners.listOffers">;
type Offers = Result<"partners.listOffers">;

/**
 * What can be ordered, by pages. Staff see their own partner's offers, and like operators who name a partner,
 * also those that are not active.
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

/** The action behind the page that everybody opens first; the only one that is cached, so that few are. */
export const FRONT_PAGE = "partners.frontPage";

/** A page of offers. @param managed for those who manage the partner: with what is not active */
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

/** A new product, offered by this partner at once. @throws VALIDATION_ERROR for another currency than the partner's */
export async function createProduct(
  deps: PartnersDependencies,
  trx: Knex.Transaction,
  ctx: Ctx<Params<"partners.createProduct">>,
): Promise<Offer> {
  const { partnerId, price, stock, ...texts } = ctx.params;
  const partner = await payableIn(trx, partnerId, price.currency);
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
  await announce(deps, trx, offered, false);
  await audit(deps.outbox, trx, ctx, product.id);
  const { version, description, brand, imageUrl } = product;
  const shown = { title: product.title, description, brand, imageUrl, partnerTitle: partner.title };
  return offerView({ ...offered, ...omitUndefined(shown), version }, true);
}

/** Changes the texts of a partner's product. @throws NOT_FOUND also for another partner's, PRECONDITION_FAILED */
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
    const saved = await saveProductTexts(trx, product.id, changed(product, change));
    const offer = await touchOffer(trx, product.id);
    if (offer) await announce(deps, trx, offer, false);
    await audit(deps.outbox, trx, ctx, product.id, fieldsOf(change));
    return productView(saved);
  });
}

/** The partner offers the product no longer, and the product goes. */
export async function deleteProduct(
  deps: PartnersDependencies,
  ctx: Ctx<Params<"partners.deleteProduct">>,
): Promise<Record<string, never>> {
  managerOf(ctx);
  const { partnerId, productId } = ctx.params;
  await deps.postgres.transact(async (trx) => {
    const { id } = await ownProduct(trx, partnerId, productId);
    const gone = await deleteAvailability(trx, id);
    await deleteProductRow(trx, id);
    if (gone) await announce(deps, trx, gone, true);
    await audit(deps.outbox, trx, ctx, id, `of partner ${partnerId}`);
  });
  return {};
}

/** @throws NOT_FOUND for what the partner does not offer */
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
 * Sets the price and whether it is active, and the stock where it is given; the first time for a product of another
 * partner, this one gets a copy of it and offers that.
 * @throws PRECONDITION_FAILED; PRECONDITION_REQUIRED for another number of pieces than orders have left, without the
 *   version at which they were counted
 */
export async function setAvailability(
  deps: PartnersDependencies,
  trx: Knex.Transaction,
  ctx: Ctx<Params<"partners.setAvailability">>,
): Promise<Availability> {
  const { partnerId, productId, price } = ctx.params;
  await payableIn(trx, partnerId, price.currency);
  const known = await findOwnProduct(trx, partnerId, productId);
  const saved = known
    ? await changeOffer(trx, known.id, ctx.params)
    : await beginToOffer(trx, deps, ctx.params);
  await audit(deps.outbox, trx, ctx, saved.productId, `of partner ${partnerId}`);
  return await announce(deps, trx, saved, false);
}

async function changeOffer(
  trx: Knex.Transaction,
  productId: string,
  { price, stock, active, expectedVersion }: Params<"partners.setAvailability">,
): Promise<AvailabilityRow> {
  const offer = await lockAvailability(trx, productId);
  if (!offer) throw noSuchProduct();
  if (expectedVersion !== undefined && expectedVersion !== offer.version) throw fail("PRECONDITION_FAILED");
  // Pieces that orders took between the look at the stock and this write would be sold twice.
  const isRecounted = stock !== undefined && offer.stock !== undefined && stock !== offer.stock;
  if (isRecounted && offer.stockMoved && expectedVersion === undefined) {
    throw fail(
      "PRECONDITION_REQUIRED",
      "Orders have changed the stock since it was set: send the ETag that it was seen with, or a difference.",
    );
  }
  return await saveAvailability(trx, productId, { priceMinor: price.amountMinor, active, stock });
}

/** @throws NOT_FOUND where no partner has such a product */
async function beginToOffer(
  trx: Knex.Transaction,
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
  // Another request of this partner was faster.
  const other = await findOwnProduct(trx, partnerId, productId);
  if (!other) throw noSuchProduct();
  return await changeOffer(trx, other.id, { partnerId, productId, price, stock, active });
}

/**
 * Adds pieces to a stock, or takes them away.
 * @throws PRODUCT_UNAVAILABLE for more than there are, VALIDATION_ERROR where they are not counted or would be too many
 */
export async function changeStock(
  deps: PartnersDependencies,
  trx: Knex.Transaction,
  ctx: Ctx<Params<"partners.changeStock">>,
): Promise<Availability> {
  const { partnerId, productId, change } = ctx.params;
  const product = await findOwnProduct(trx, partnerId, productId);
  if (!product) throw noSuchProduct();
  const saved = await addToStock(trx, product.id, change, STOCK_MAX);
  if (!saved) throw await stockRefusal(trx, product.id, change);
  await audit(deps.outbox, trx, ctx, product.id, `of partner ${partnerId}`);
  return await announce(deps, trx, saved, false);
}

async function stockRefusal(trx: Knex.Transaction, productId: string, change: number): Promise<Error> {
  const offer = await findAvailability(trx, productId);
  if (!offer) return noSuchProduct();
  const { stock } = offer;
  if (stock === undefined)
    return invalidField("change", "counted", "The pieces of this offer are not counted.");
  if (change > 0) return invalidField("change", "max", `There may be ${STOCK_MAX} pieces at most.`);
  return fail("PRODUCT_UNAVAILABLE", `There are ${stock} pieces.`, { productId, available: stock });
}

async function payableIn(trx: Knex.Transaction, partnerId: string, currency: string): Promise<PartnerRow> {
  const partner = await findPartner(trx, partnerId);
  if (!partner) throw noSuchPartner();
  if (partner.currency === currency) return partner;
  throw invalidField("price.currency", "currency", `This partner's prices are in ${partner.currency}.`);
}

/** The partner's product, locked until the end of the transaction. @throws NOT_FOUND */
async function ownProduct(trx: Knex.Transaction, partnerId: string, productId: string): Promise<ProductRow> {
  const product = await findOwnProduct(trx, partnerId, productId, "FOR UPDATE");
  if (!product) throw noSuchProduct();
  return product;
}

type ProductChange = Omit<Params<"partners.updateProduct">, "partnerId" | "productId" | "expectedVersion">;

/** The texts after a change, in which null or an empty text takes an optional field away. */
function changed(product: ProductRow, change: ProductChange): Omit<Product, "id" | "version"> {
  const { title, description, brand, imageUrl } = { ...product, ...change };
  return {
    title,
    ...(description && { description }),
    ...(brand && { brand }),
    ...(imageUrl && { imageUrl }),
  };
}

async function announce(
  { outbox }: Pick<PartnersDependencies, "outbox">,
  trx: Knex.Transaction,
  saved: AvailabilityRow,
  deleted: boolean,
): Promise<Availability> {
  const availability = availabilityView(saved);
  const data = { version: availability.version, availability, deleted };
  await outbox.add(trx, [message("availability.changed", saved.productId, data)]);
  return availability;
}

function noSuchProduct(): Error {
  return fail("NOT_FOUND", "This partner offers no such product.");
}
