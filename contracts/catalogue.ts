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
/** The maximum stock of one product, in pieces. */
export const STOCK_MAX = 1_000_000;
const stock = integer(0, STOCK_MAX);
/** The current stock. Cancelled orders return pieces, which may raise it above `STOCK_MAX`. */
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

/** A partner's offer of a product: one entry of the list of offers. */
export const offer = object({
  productId: uuid,
  partnerId: uuid,
  partnerTitle: text(120),
  ...storedProduct,
  price: storedMoney,
  /** Pieces left; absent if the partner does not count its stock. */
  stock: optional(stockLeft),
  /** Shown to the partner's staff and operators; customers see active offers only. */
  active: optional(boolean),
  /** The product's version, for a conditional change; shown to the partner's staff and operators. */
  version: optional(version),
});
export type Offer = Infer<typeof offer>;

export const availability = object({
  partnerId: uuid,
  productId: uuid,
  price: storedMoney,
  stock: optional(stockLeft),
  active: boolean,
  /** Increases with each change by the partner or by an order. */
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
  /** Null removes an optional field. An empty text, which older clients send, does the same. */
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
   * Sets price and `active`; the first call creates the offer. An absent stock stays unchanged, and null stops the
   * counting of stock. After an order has changed the stock, a new stock requires the expected version.
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
  /** Adds pieces to a counted stock or removes them. Safe beside orders that change the stock at the same time. */
  "partners.changeStock": action(
    object({ ...partnerId, productId: uuid, change: integer(-STOCK_MAX, STOCK_MAX) }),
    availability,
  ),
} as const;
