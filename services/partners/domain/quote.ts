import { fail, invalidField } from "../../../contracts/errors.ts";
import type { PartnerSnapshot, Quote, QuotedLine } from "../../../contracts/partners.ts";
import type { Address } from "../../../contracts/shared.ts";
import { isoTime } from "../../../lib/clock.ts";
import { add, type Money, money, times } from "../../../lib/money.ts";

/** How long a check's prices are promised. */
export const QUOTE_VALID_MS = 600_000;

export interface Wish {
  productId: string;
  quantity: number;
}

/** What a partner offers of one product at this moment. */
export interface StockedOffer {
  productId: string;
  title: string;
  priceMinor: number;
  currency: string;
  /** Absent where the partner does not count. */
  stock?: number;
  active: boolean;
}

/** Why a line cannot be had. */
export interface LineTrouble {
  productId: string;
  reason: "not_offered" | "out_of_stock";
  /** Pieces that there are, with `out_of_stock`. */
  available?: number;
}

export interface Cart {
  wishes: readonly Wish[];
  address: Address;
  note?: string | undefined;
}

/**
 * What the cart costs at this partner now, every price from the partner's own offers.
 * @throws PRODUCT_UNAVAILABLE naming every line that cannot be had, VALIDATION_ERROR for a product named twice
 */
export function quoteOf(
  cart: Cart,
  partner: PartnerSnapshot,
  fee: Money,
  offers: readonly StockedOffer[],
  made: { checkId: string; nowMs: number },
): Quote {
  const lines = quotedLines(cart.wishes, offers);
  const sums = lines.map((line) => times(line.unitPrice, line.quantity));
  return {
    checkId: made.checkId,
    expiresAt: isoTime(made.nowMs + QUOTE_VALID_MS),
    partner,
    lines,
    fee,
    total: sums.reduce(add, fee),
    address: cart.address,
    ...(cart.note !== undefined && { note: cart.note }),
  };
}

function quotedLines(wishes: readonly Wish[], offers: readonly StockedOffer[]): QuotedLine[] {
  if (new Set(wishes.map((wish) => wish.productId)).size < wishes.length) {
    throw invalidField("lines", "unique", "A product stands in more than one line.");
  }
  const byProduct = new Map(offers.map((offer) => [offer.productId, offer]));
  const troubles = wishes.flatMap((wish) => lineTrouble(wish, byProduct.get(wish.productId)));
  if (troubles.length > 0) throw fail("PRODUCT_UNAVAILABLE", undefined, { lines: troubles });
  return wishes.map(({ productId, quantity }) => {
    const { title, priceMinor, currency } = byProduct.get(productId) as StockedOffer;
    return { productId, title, quantity, unitPrice: money(priceMinor, currency) };
  });
}

function lineTrouble({ productId, quantity }: Wish, offer: StockedOffer | undefined): LineTrouble[] {
  if (!offer?.active) return [{ productId, reason: "not_offered" }];
  if (offer.stock === undefined || offer.stock >= quantity) return [];
  return [{ productId, reason: "out_of_stock", available: offer.stock }];
}
