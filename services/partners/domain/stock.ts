import type { OrderStatus } from "../../../contracts/orders.ts";
import type { QuotedLine } from "../../../contracts/partners.ts";
import { type Money, money, sameMoney } from "../../../lib/money.ts";
import type { StockedOffer } from "./quote.ts";

/** What is different from what an order expects; the customer decides by it whether to check again. */
export interface QuoteDifferences {
  fee?: { expected: Money; now: Money };
  lines: LineDifference[];
}

export interface LineDifference {
  productId: string;
  quantity: number;
  expected: Money;
  /** The price now; absent when the product is no longer offered. */
  now?: Money;
  /** Pieces that there are, where they are too few. */
  available?: number;
}

/** What an order expects against what is there; undefined when nothing is different. */
export function quoteDifferences(
  expected: { lines: readonly QuotedLine[]; fee: Money },
  now: { offers: readonly StockedOffer[]; fee: Money },
): QuoteDifferences | undefined {
  const byProduct = new Map(now.offers.map((offer) => [offer.productId, offer]));
  const lines = expected.lines.flatMap((line) => lineDifference(line, byProduct.get(line.productId)));
  const fee = sameMoney(expected.fee, now.fee) ? undefined : { expected: expected.fee, now: now.fee };
  if (lines.length === 0 && !fee) return undefined;
  return { ...(fee && { fee }), lines };
}

function lineDifference(line: QuotedLine, offer: StockedOffer | undefined): LineDifference[] {
  const { productId, quantity, unitPrice: expected } = line;
  if (!offer?.active) return [{ productId, quantity, expected }];
  const now = money(offer.priceMinor, offer.currency);
  const short = offer.stock !== undefined && offer.stock < quantity;
  if (!short && sameMoney(now, expected)) return [];
  return [{ productId, quantity, expected, now, ...(short && { available: offer.stock }) }];
}

/** States of an order in which the partner has not begun with the goods, so that they can be sold again. */
const UNTOUCHED: readonly OrderStatus[] = ["pending", "paid"];

/** What we hold for an order: pieces for one that may still be paid, pieces that are its own, or nothing any more. */
export type ReservationState = "held" | "committed" | "released";

export interface Reservation {
  state: ReservationState;
  /** The newest version of the order that was heard of; 0 before the first message. */
  orderVersion: number;
}

/** What an order says about itself, as far as stock is concerned. */
export interface OrderNews {
  status: OrderStatus;
  previousStatus?: OrderStatus | undefined;
  version: number;
}

export interface StockDecision {
  state: ReservationState;
  /** Moves pieces: back on sale, or from there once more because they had been given back too early. */
  pieces?: "give_back" | "take_again";
}

/**
 * What a message about an order does to its reservation; undefined when it does nothing, because something
 * newer was heard before. A cancellation that comes before the payment it cancels leaves its tombstone thus.
 * @param known absent when nothing was ever reserved or heard
 */
export function afterOrderNews(known: Reservation | undefined, news: OrderNews): StockDecision | undefined {
  if (known && news.version <= known.orderVersion) return undefined;
  switch (news.status) {
    case "pending":
      return known && { state: known.state };
    case "paid":
      if (known && known.state !== "released") return { state: "committed" };
      // Paid all the same, after the sweeper or a release had given the pieces back: the order comes first.
      return { state: "committed", pieces: "take_again" };
    case "cancelled":
    case "expired":
      return goesBackOnSale(news.previousStatus)
        ? { state: "released", pieces: "give_back" }
        : { state: known?.state === "released" ? "released" : "committed" };
    default:
      return undefined;
  }
}

/**
 * The needs of an order that was paid once, by its present state. `all`: pieces and a notified partner.
 * `pieces`: the pieces are in use, and the partner knows. `nothing`: the order is over, or does not exist.
 * @param isKnown whether Partners has its reservation; long after its end, when all is settled, it has none
 */
export function stillNeeds(status: OrderStatus | undefined, isKnown: boolean): "all" | "pieces" | "nothing" {
  switch (status) {
    case "paid":
      return "all";
    case "preparing":
    case "ready":
    case "delivering":
    case "failed":
      return "pieces";
    case "delivered":
      return isKnown ? "pieces" : "nothing";
    default:
      return "nothing";
  }
}

/** What the kitchen has begun with does not go back on sale; when the state before is unknown, nothing was begun. */
function goesBackOnSale(previous: OrderStatus | undefined): boolean {
  return previous === undefined || UNTOUCHED.includes(previous);
}
