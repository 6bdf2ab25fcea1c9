import type { Knex } from "knex";
import type { Params, Result } from "../../contracts/actions.ts";
import { fail, invalidField } from "../../contracts/errors.ts";
import { message } from "../../contracts/messages.ts";
import type { Caller, Ctx } from "../../contracts/meta.ts";
import type { Availability, Offer, Product } from "../../contracts/partners.ts";
import { isEmptyChange } from "../../lib/changes.ts";
import { newId } from "../../lib/ids.ts";
import { present } from "../../lib/present.ts";
import { audit, fieldsOf } from "../../mixins/audit/audit.ts";
import { callerOf } from "../../mixins/caller/caller.ts";
import { managerOf, manages, noSuchPartner } from "./access.ts";
import type { PartnersDeps } from "./deps.ts";
import { listOffers as findOffers } from "./offers.repository.ts";
import { afterOf, pageOf } from "./pages.ts";
import { findPartner, type PartnerRow } from "./partners.repository.ts";
import {
  type AvailabilityRow,
  abandonProduct,
  deleteAvailability,
  insertProduct,
  isOfferedBy,
  lockProduct,
  type ProductRow,
  saveProductTexts,
  touchOffers,
  upsertAvailability,
} from "./products.repository.ts";
import { searchQuery } from "./search-words.ts";
import { availabilityView, offerView, productView } from "./views.ts";

const DEFAULT_PAGE_SIZE = 20;

type Listing = Params<"partners.listOffers">;
type Offers = Result<"partners.listOffers">;

/**
 * What can be ordered, by pages. Staff see their own partner's offers, and like operators who name a partner,
 * also those that are not active.
 */
export async function listOffers(deps: PartnersDeps, ctx: Ctx<Listing>): Promise<Offers> {
  const caller = callerOf(ctx);
  const { cursor, limit = DEFAULT_PAGE_SIZE, q } = ctx.params;
  const partnerId = ctx.params.partnerId ?? (caller.role === "partner" ? caller.partnerId : undefined);
  const managed = partnerId !== undefined && manages(caller, partnerId);
  if (caller.role === "partner" && !managed) throw noSuchPartner();
  const isFrontPage = !managed && cursor === undefined && q === undefined && limit === DEFAULT_PAGE_SIZE;
  if (isFrontPage) return await ctx.call<Offers, Listing>(FRONT_PAGE, present({ partnerId }));
  return await offersPage(deps, { ...ctx.params, partnerId }, managed);
}

/** The action behind the page that everybody opens first; the only one that is cached, so that few are. */
export const FRONT_PAGE = "partners.frontPage";

/** A page of offers. @param managed for those who manage the partner: with what is not active */
export async function offersPage(
  { postgres }: Pick<PartnersDeps, "postgres">,
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
  deps: PartnersDeps,
  trx: Knex.Transaction,
  ctx: Ctx<Params<"partners.createProduct">>,
): Promise<Offer> {
  const { partnerId, price, stock, ...texts } = ctx.params;
  const partner = await payableIn(trx, partnerId, price.currency);
  const product = await insertProduct(trx, newId(deps.clock.now()), partnerId, texts);
  const offered = await upsertAvailability(trx, {
    ...{ partnerId, productId: product.id, priceMinor: price.amountMinor, currency: price.currency },
    ...(stock !== undefined && { stock }),
    active: true,
  });
  if (!offered) throw fail("INTERNAL");
  await announce(deps, trx, offered, false);
  await audit(deps.outbox, trx, ctx, product.id);
  const { version, description, brand, imageUrl } = product;
  const shown = { title: product.title, description, brand, imageUrl, partnerTitle: partner.title };
  return offerView({ ...offered, ...present(shown), version }, true);
}

/**
 * Changes the texts of a product, which all partners that offer it share.
 * @throws FORBIDDEN for staff of a partner that offers it but did not make it, PRECONDITION_FAILED
 */
export async function updateProduct(
  deps: PartnersDeps,
  ctx: Ctx<Params<"partners.updateProduct">>,
): Promise<Product> {
  const caller = managerOf(ctx);
  const { partnerId, productId, expectedVersion, ...change } = ctx.params;
  return await deps.postgres.transact(async (trx) => {
    const product = await offeredProduct(trx, productId, partnerId);
    refuseOthersTexts(caller, product);
    if (expectedVersion !== undefined && expectedVersion !== product.version)
      throw fail("PRECONDITION_FAILED");
    if (isEmptyChange(change)) return productView(product);
    const saved = await saveProductTexts(trx, productId, changed(product, change));
    for (const offer of await touchOffers(trx, productId)) await announce(deps, trx, offer, false);
    await audit(deps.outbox, trx, ctx, productId, fieldsOf(change));
    return productView(saved);
  });
}

/** The partner offers the product no longer; after the last offer the product itself goes. */
export async function deleteProduct(
  deps: PartnersDeps,
  ctx: Ctx<Params<"partners.deleteProduct">>,
): Promise<Record<string, never>> {
  managerOf(ctx);
  const { partnerId, productId } = ctx.params;
  await deps.postgres.transact(async (trx) => {
    await offeredProduct(trx, productId, partnerId);
    const gone = await deleteAvailability(trx, partnerId, productId);
    if (!gone) throw noSuchProduct();
    await abandonProduct(trx, productId, partnerId);
    await announce(deps, trx, gone, true);
    await audit(deps.outbox, trx, ctx, productId, `of partner ${partnerId}`);
  });
  return {};
}

/** Sets price, stock and whether it is active; the first time for a product, the partner begins to offer it. */
export async function setAvailability(
  deps: PartnersDeps,
  ctx: Ctx<Params<"partners.setAvailability">>,
): Promise<Availability> {
  managerOf(ctx);
  const { partnerId, productId, price, stock, active } = ctx.params;
  return await deps.postgres.transact(async (trx) => {
    await payableIn(trx, partnerId, price.currency);
    const saved = await upsertAvailability(trx, {
      ...{ partnerId, productId, priceMinor: price.amountMinor, currency: price.currency, active },
      ...(stock !== undefined && { stock }),
    });
    if (!saved) throw noSuchProduct();
    await audit(deps.outbox, trx, ctx, productId, `of partner ${partnerId}`);
    return await announce(deps, trx, saved, false);
  });
}

async function payableIn(trx: Knex.Transaction, partnerId: string, currency: string): Promise<PartnerRow> {
  const partner = await findPartner(trx, partnerId);
  if (!partner) throw noSuchPartner();
  if (partner.currency === currency) return partner;
  throw invalidField("price.currency", "currency", `This partner's prices are in ${partner.currency}.`);
}

async function offeredProduct(
  trx: Knex.Transaction,
  productId: string,
  partnerId: string,
): Promise<ProductRow> {
  const product = await lockProduct(trx, productId);
  if (!product || !(await isOfferedBy(trx, productId, partnerId))) throw noSuchProduct();
  return product;
}

function refuseOthersTexts(caller: Caller, { ownerPartnerId }: ProductRow): void {
  if (caller.role === "admin" || caller.partnerId === ownerPartnerId) return;
  throw fail("FORBIDDEN", "Other partners share this product: only who made it may change it.");
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
  { outbox }: Pick<PartnersDeps, "outbox">,
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
