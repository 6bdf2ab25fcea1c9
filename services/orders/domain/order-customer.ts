import { fail, invalidField } from "../../../contracts/errors.ts";
import type { Quote } from "../../../contracts/partners.ts";
import type { Address } from "../../../contracts/shared.ts";
import { CLOCK_TOLERANCE_MS, isoTime } from "../../../lib/clock.ts";
import { add, type Money, sameMoney, times } from "../../../lib/money.ts";
import { omitUndefined } from "../../../lib/omit-undefined.ts";
import { create } from "./order.ts";
import type { Actor, Decision, Order } from "./order-model.ts";

/**
 * Creates the order of a check, with the check's id.
 * @param number the short number; undefined if none was free
 * @throws CHECK_EXPIRED, VALIDATION_ERROR for a quote with a wrong or a zero total
 */
export function confirm(
  quote: Quote,
  customer: Order["customer"],
  bankId: string,
  actor: Actor,
  nowMs: number,
  number?: string,
): Decision {
  // Partners has set this time by its own clock.
  if (Date.parse(quote.expiresAt) + CLOCK_TOLERANCE_MS <= nowMs)
    throw fail("CHECK_EXPIRED", "Make a new check.");
  if (!addsUp(quote)) throw invalidField("quote.total", "sum", "The lines and the fee do not add up.");
  if (quote.total.amountMinor === 0) throw invalidField("quote.total", "min", "There is nothing to pay.");
  const order = omitUndefined({
    id: quote.checkId,
    number,
    customer,
    partner: quote.partner,
    lines: quote.lines,
    currency: quote.total.currency,
    feeMinor: quote.fee.amountMinor,
    totalMinor: quote.total.amountMinor,
    address: quote.address,
    note: quote.note,
    bankId,
  });
  return create(order, actor, nowMs);
}

/**
 * Applies the customer's changes before the payment.
 * @param change an absent field stays unchanged; a note of null or an empty text removes the note
 * @throws PRECONDITION_FAILED for another version, ILLEGAL_TRANSITION if the order is not pending
 */
export function edit(
  order: Order,
  change: {
    expectedVersion?: number | undefined;
    address?: Address | undefined;
    note?: string | null | undefined;
  },
  nowMs: number,
): Decision {
  if (change.expectedVersion !== undefined && change.expectedVersion !== order.version) {
    throw fail("PRECONDITION_FAILED", `The order is at version ${order.version}.`);
  }
  if (order.status !== "pending") {
    throw fail("ILLEGAL_TRANSITION", `The order is ${order.status}: it can no longer be changed.`, {
      status: order.status,
      legal: [],
    });
  }
  if (change.address === undefined && change.note === undefined) {
    return { next: order, messages: [], refunds: [] };
  }
  const next = omitUndefined({
    ...order,
    address: change.address ?? order.address,
    note: change.note === undefined ? order.note : change.note || undefined,
    version: order.version + 1,
    updatedAt: isoTime(nowMs),
  });
  return { next, messages: [], refunds: [] };
}

function addsUp({ lines, fee, total }: Quote): boolean {
  try {
    const prices = lines.map(({ unitPrice, quantity }) => times(unitPrice, quantity));
    const sum = prices.reduce<Money>((a, b) => add(a, b), fee);
    return sameMoney(sum, total);
  } catch {
    return false;
  }
}
