import type { OrderStatus } from "../../../contracts/orders.ts";
import { isoTime } from "../../../lib/clock.ts";
import type { Money } from "../../../lib/money.ts";
import type { Decision } from "./order-model.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/**
 * The times of the polls for an unpaid order, counted from its creation: soon, because usually a single callback is
 * lost; again right before the order expires; and after its end, for late payments, until the bank itself has stopped
 * repeating its callback.
 */
export const pollTimesMs: readonly number[] = [
  2 * MINUTE_MS,
  5 * MINUTE_MS,
  10 * MINUTE_MS,
  20 * MINUTE_MS,
  28 * MINUTE_MS,
  32 * MINUTE_MS,
  HOUR_MS,
  6 * HOUR_MS,
  24 * HOUR_MS,
];
/**
 * The times of the polls for a paid order, counted from its payment, in case of a second payment whose callback was
 * lost. A customer pays twice only while the checkout page is open, so the bank is polled soon after the page closes;
 * and again when the bank itself has stopped repeating its callback.
 */
export const paidPollTimesMs: readonly number[] = [30 * MINUTE_MS, 24 * HOUR_MS];
/** In all other states, the order is paid. */
const LACKS_PAYMENT: readonly OrderStatus[] = ["pending", "cancelled", "expired"];
/** A new payment may be missing in the bank's list for this time. */
const SETTLING_MS = 10 * MINUTE_MS;

/** The values that determine the time of an order's next poll. */
export interface PollSubject {
  status: OrderStatus;
  createdAt: string;
  /** When the order was paid in full. Absent: it never was. */
  paidAt?: string;
}

/** The time of the next poll after `nowMs`; missed polls are skipped. Undefined: there is none. */
export function nextPollAt({ status, createdAt, paidAt }: PollSubject, nowMs: number): string | undefined {
  const isPaid = paidAt !== undefined && !LACKS_PAYMENT.includes(status);
  const [since, agesMs] = isPaid ? [paidAt, paidPollTimesMs] : [createdAt, pollTimesMs];
  const startMs = Date.parse(since);
  const nextMs = agesMs.map((ms) => startMs + ms).find((ms) => ms > nowMs);
  return nextMs === undefined ? undefined : isoTime(nextMs);
}

/**
 * The time of the payment and of the next poll, for a decision that pays an order. Undefined for any other decision,
 * which leaves both unchanged.
 */
export function pollAfterPayment({
  next,
  transition,
}: Decision): { paidAt: string; pollAt: string } | undefined {
  if (transition?.from !== "pending" || transition.to !== "paid") return undefined;
  const { status, createdAt, updatedAt: paidAt } = next;
  const pollAt = nextPollAt({ status, createdAt, paidAt }, Date.parse(paidAt));
  return pollAt === undefined ? undefined : { paidAt, pollAt };
}

/** A payment in our books. */
export interface BookedPayment {
  paymentId: string;
  amount: Money;
  /** The sum of completed refunds. */
  refundedMinor: number;
  /** The sum of refunds that were requested and have not ended. */
  refundOpenMinor: number;
  at: string;
}

/** A payment in the bank's books. */
export interface ReportedPayment {
  paymentId: string;
  amount: Money;
  refundedMinor?: number;
}

/** A difference between the bank's books and ours. `detail` is for an operator. */
export interface Difference {
  kind: "payment.missing" | "refund.difference";
  paymentId: string;
  detail: string;
}

/**
 * Compares our books of one order with the bank's. The bank answered between our two readings, and refunds may have
 * ended in between: a value that agrees with one of the readings is not a difference.
 * @param before our books before the poll
 * @param ours our books after the bank's answer
 * @returns `unknown`: payments to record (also those with another amount, for which the recording raises an alert);
 *   `differences`: for an operator, because they cannot be repaired automatically
 */
export function compareBooks(
  before: readonly BookedPayment[],
  ours: readonly BookedPayment[],
  theirs: readonly ReportedPayment[],
  nowMs: number,
): { unknown: ReportedPayment[]; differences: Difference[] } {
  const differences: Difference[] = [];
  const booked = new Map(ours.map((one) => [one.paymentId, one]));
  const reported = new Set(theirs.map(({ paymentId }) => paymentId));
  const unknown = theirs.filter(({ paymentId, amount }) => {
    const known = booked.get(paymentId)?.amount;
    return known?.amountMinor !== amount.amountMinor || known.currency !== amount.currency;
  });
  for (const { paymentId, amount, at } of ours) {
    if (reported.has(paymentId) || Date.parse(at) + SETTLING_MS > nowMs) continue;
    const detail = `The bank does not know the payment ${paymentId} of ${text(amount)} any more.`;
    differences.push({ kind: "payment.missing", paymentId, detail });
  }
  for (const { paymentId, amount, refundedMinor: reportedMinor } of theirs) {
    const known = booked.get(paymentId);
    if (!known || reportedMinor === undefined) continue;
    const readings = [known, ...before.filter((one) => one.paymentId === paymentId)];
    const leastMinor = Math.min(...readings.map(({ refundedMinor }) => refundedMinor));
    // The bank may have completed an open refund before our books do.
    const mostMinor = Math.max(
      ...readings.map(({ refundedMinor, refundOpenMinor }) => refundedMinor + refundOpenMinor),
    );
    if (reportedMinor >= leastMinor && reportedMinor <= mostMinor) continue;
    const [bank, we] = [reportedMinor, known.refundedMinor].map((amountMinor) =>
      text({ ...amount, amountMinor }),
    );
    const detail = `The bank has refunded ${bank} of payment ${paymentId}; our books say ${we}.`;
    differences.push({ kind: "refund.difference", paymentId, detail });
  }
  return { unknown, differences };
}

function text({ amountMinor, currency }: Money): string {
  return `${amountMinor} ${currency} (minor units)`;
}
