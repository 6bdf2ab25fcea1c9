import { action } from "./action.ts";
import {
  boolean,
  clearable,
  httpUrl,
  httpUrlOrEmpty,
  type Infer,
  integer,
  knownCurrency,
  nothing,
  object,
  optional,
  page,
  paging,
  stored,
  storedMoney,
  text,
  uuid,
  version,
} from "./schema.ts";

/** The price of one piece: never zero, and limited so that the sum of a cart cannot overflow. */
const price = object({ amountMinor: integer(1, 1_000_000_000_00), currency: knownCurrency });
/** How many pieces a partner may have on sale of one product. */
export const STOCK_MAX = 1_000_000;
const stock = integer(0, STOCK_MAX);
/** Pieces that come back from cancelled orders may raise the stock above `STOCK_MAX`. */
const stockLeft = integer(0, 2 ** 31 - 1);

const productFields = {
  title: text(160),
  description: optional(text(2000)),
  brand: optional(text(120)),
  imageUrl: optional(httpUrl),
} as const;
const storedProduct = stored(object(productFields)).props;
export const product = object({ id: uuid, ...storedProduct, version });
export type Product = Infer<typeof product>;

/** A partner's offer of a product: one row of the customers' list. */
export const offer = object({
  productId: uuid,
  partnerId: uuid,
  partnerTitle: text(120),
  ...storedProduct,
  price: storedMoney,
  /** Pieces left; absent where the partner does not count them. */
  stock: optional(stockLeft),
  /** Told to those who manage it; customers meet only active ones. */
  active: optional(boolean),
  /** The product's version, for a conditional change; told to those who manage it. */
  version: optional(version),
});
export type Offer = Infer<typeof offer>;

export const availability = object({
  partnerId: uuid,
  productId: uuid,
  price: storedMoney,
  stock: optional(stockLeft),
  active: boolean,
  /** Counts what the partner changes, and what orders take and give back. */
  version,
});
export type Availability = Infer<typeof availability>;

const partnerId = { partnerId: uuid } as const;

/** Actions of the service `partners` on products and offers. */
export const catalogueActions = {
  "partners.listOffers": action(
    object({ ...paging, partnerId: optional(uuid), q: optional(text(100)) }),
    page(offer),
    { idempotent: true },
  ),
  "partners.createProduct": action(
    object({ ...partnerId, ...productFields, price, stock: optional(stock) }),
    offer,
  ),
  /** Null takes an optional field away; an empty text, from older programs, does too. */
  "partners.updateProduct": action(
    object({
      ...partnerId,
      productId: uuid,
      expectedVersion: optional(version),
      title: optional(productFields.title),
      description: clearable(text(2000, 0)),
      brand: clearable(text(120, 0)),
      imageUrl: clearable(httpUrlOrEmpty),
    }),
    product,
  ),
  "partners.deleteProduct": action(object({ ...partnerId, productId: uuid }), nothing),
  "partners.getAvailability": action(object({ ...partnerId, productId: uuid }), availability, {
    idempotent: true,
  }),
  /**
   * Sets the price and whether it is active; the first time, the partner begins to offer the product. Stock that is
   * left out stays as it is, and null ends its counting. Once orders have changed it, another one needs the version.
   */
  "partners.setAvailability": action(
    object({
      ...partnerId,
      productId: uuid,
      expectedVersion: optional(version),
      price,
      stock: clearable(stock),
      active: boolean,
    }),
    availability,
  ),
  /** Adds pieces to a counted stock, or takes them away, whatever orders do at the same time. */
  "partners.changeStock": action(
    object({ ...partnerId, productId: uuid, change: integer(-STOCK_MAX, STOCK_MAX) }),
    availability,
  ),
} as const;
