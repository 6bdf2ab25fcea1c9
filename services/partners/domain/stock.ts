import type { OrderStatus } from "../../../contracts/orders.ts";
import type { QuotedLine } from "../../../contracts/partners.ts";
import { type Money, money, sameMoney } from "../../../lib/money.ts";
import type { StockedOffer } from "./quote.ts";

/** Differences between the current offers and those that an order expects, for the customer's decision. */
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
  /** Pieces left, when they are too few. */
  available?: number;
}

/** Compares the offers that an order expects with the current ones; undefined when they are equal. */
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

/** States of an order in which the partner has not started preparation, so that the goods can be sold again. */
const NOT_BEGUN: readonly OrderStatus[] = ["pending", "paid"];

/** `held`: reserved for an order that is not paid yet. `committed`: belongs to a paid order. `released`: back on sale. */
export type ReservationState = "held" | "committed" | "released";

export interface Reservation {
  state: ReservationState;
  /** The newest order version that was applied; 0 before the first message. */
  orderVersion: number;
}

/** The parts of an order message that concern stock. */
export interface OrderChange {
  status: OrderStatus;
  previousStatus?: OrderStatus | undefined;
  version: number;
}

export interface StockDecision {
  state: ReservationState;
  /** `return`: put the pieces back on sale. `retake`: take them again, because they were returned too early. */
  pieces?: "return" | "retake";
}

/**
 * Decides how an order message changes the reservation; undefined for no change, because a newer message was applied
 * before. A cancellation that arrives before the payment message leaves a tombstone.
 * @param known absent when neither a reservation nor a message came before
 */
export function reservationAfter(
  known: Reservation | undefined,
  order: OrderChange,
): StockDecision | undefined {
  if (known && order.version <= known.orderVersion) return undefined;
  switch (order.status) {
    case "pending":
      return known && { state: known.state };
    case "paid":
      if (known && known.state !== "released") return { state: "committed" };
      // The sweep or a release returned the pieces before the payment: the paid order has priority.
      return { state: "committed", pieces: "retake" };
    case "cancelled":
    case "expired":
      return goesBackOnSale(order.previousStatus)
        ? { state: "released", pieces: "return" }
        : { state: known?.state === "released" ? "released" : "committed" };
    default:
      return undefined;
  }
}

/**
 * The needs of a paid order by its present state. `all`: the pieces, and a webhook to the partner. `pieces`: only the
 * pieces, because the partner is already preparing the order. `nothing`: the order ended, or does not exist.
 * @param isKnown whether Partners has its reservation, which is pruned some time after the order ended
 */
export function remainingNeeds(
  status: OrderStatus | undefined,
  isKnown: boolean,
): "all" | "pieces" | "nothing" {
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

/** Goods in preparation do not go back on sale. An unknown previous state counts as not begun. */
function goesBackOnSale(previous: OrderStatus | undefined): boolean {
  return previous === undefined || NOT_BEGUN.includes(previous);
}
