import { fail, invalidField } from "../../../contracts/errors.ts";
import type { PartnerSnapshot, Quote, QuotedLine } from "../../../contracts/partners.ts";
import type { Address } from "../../../contracts/shared.ts";
import { isoTime } from "../../../lib/clock.ts";
import { add, type Money, money, times } from "../../../lib/money.ts";

/** How long the prices of a check are valid. */
export const QUOTE_VALID_MS = 600_000;

export interface RequestedLine {
  productId: string;
  quantity: number;
}

/** A partner's offer of one product. */
export interface StockedOffer {
  productId: string;
  title: string;
  priceMinor: number;
  currency: string;
  /** Pieces left; absent when the partner does not count them. */
  stock?: number;
  active: boolean;
}

/** The reason why a line is unavailable. */
export interface LineTrouble {
  productId: string;
  reason: "not_offered" | "out_of_stock";
  /** Pieces left, with `out_of_stock`. */
  available?: number;
}

export interface Cart {
  lines: readonly RequestedLine[];
  address: Address;
  note?: string | undefined;
}

/**
 * Calculates the price of the cart. Every price comes from the partner's offers.
 * @throws PRODUCT_UNAVAILABLE with every unavailable line, VALIDATION_ERROR for a product in two lines
 */
export function quoteOf(
  cart: Cart,
  partner: PartnerSnapshot,
  fee: Money,
  offers: readonly StockedOffer[],
  made: { checkId: string; nowMs: number },
): Quote {
  const lines = quotedLines(cart.lines, offers);
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

function quotedLines(lines: readonly RequestedLine[], offers: readonly StockedOffer[]): QuotedLine[] {
  if (new Set(lines.map((line) => line.productId)).size < lines.length) {
    throw invalidField("lines", "unique", "A product stands in more than one line.");
  }
  const byProduct = new Map(offers.map((offer) => [offer.productId, offer]));
  const troubles = lines.flatMap((line) => lineTrouble(line, byProduct.get(line.productId)));
  if (troubles.length > 0) throw fail("PRODUCT_UNAVAILABLE", undefined, { lines: troubles });
  return lines.map(({ productId, quantity }) => {
    const { title, priceMinor, currency } = byProduct.get(productId) as StockedOffer;
    return { productId, title, quantity, unitPrice: money(priceMinor, currency) };
  });
}

function lineTrouble({ productId, quantity }: RequestedLine, offer: StockedOffer | undefined): LineTrouble[] {
  if (!offer?.active) return [{ productId, reason: "not_offered" }];
  if (offer.stock === undefined || offer.stock >= quantity) return [];
  return [{ productId, reason: "out_of_stock", available: offer.stock }];
}
