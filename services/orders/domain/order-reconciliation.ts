import type { OrderStatus } from "../../../contracts/orders.ts";
import { isoTime } from "../../../lib/clock.ts";
import type { Money } from "../../../lib/money.ts";
import type { Decision } from "./order-model.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/**
 * When the bank is asked what was paid for an order that lacks its payment, counted from the order's beginning:
 * soon, because most callbacks that get lost get lost alone; once more right before the order expires; and after its
 * end, for money that came too late, until the bank itself has given up repeating its callback.
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
 * When the bank is asked about an order that is paid, counted from its payment: somebody may have paid twice, and the
 * report of one of the two be lost. Who does it does it while the page is open, so soon after that has closed; and
 * once more when the bank itself has given up repeating its callback.
 */
export const paidPollTimesMs: readonly number[] = [30 * MINUTE_MS, 24 * HOUR_MS];
/** An order in another state has its payment, and keeps it. */
const LACKS_PAYMENT: readonly OrderStatus[] = ["pending", "cancelled", "expired"];
/** A payment that we know and the bank does not name may be on its way into the bank's own lists. */
const SETTLING_MS = 10 * MINUTE_MS;

/** What the time of an order's next look follows from. */
export interface PollSubject {
  status: OrderStatus;
  createdAt: string;
  /** When it had its payment together; absent: it never had. */
  paidAt?: string;
}

/** The next look after `nowMs`; those that were missed are not made up for. Undefined: there is none. */
export function nextPollAt({ status, createdAt, paidAt }: PollSubject, nowMs: number): string | undefined {
  const keepsPayment = paidAt !== undefined && !LACKS_PAYMENT.includes(status);
  const [since, agesMs] = keepsPayment ? [paidAt, paidPollTimesMs] : [createdAt, pollTimesMs];
  const startMs = Date.parse(since);
  const nextMs = agesMs.map((ms) => startMs + ms).find((ms) => ms > nowMs);
  return nextMs === undefined ? undefined : isoTime(nextMs);
}

/**
 * With a move that pays an order: when that was, and its next look. Undefined for any other decision, which leaves
 * both as they are.
 */
export function paymentMarks({ next, transition }: Decision): { paidAt: string; lookAt: string } | undefined {
  if (transition?.from !== "pending" || transition.to !== "paid") return undefined;
  const { status, createdAt, updatedAt: paidAt } = next;
  const lookAt = nextPollAt({ status, createdAt, paidAt }, Date.parse(paidAt));
  return lookAt === undefined ? undefined : { paidAt, lookAt };
}

/** A payment as our books have it. */
export interface BookedPayment {
  paymentId: string;
  amount: Money;
  /** Done by the bank, as far as we know. */
  refundedMinor: number;
  /** Asked for, its end not known. */
  refundOpenMinor: number;
  at: string;
}

/** A payment as the bank tells it. */
export interface ToldPayment {
  paymentId: string;
  amount: Money;
  refundedMinor?: number;
}

/** What differs between the bank's books and ours, in words for an operator. */
export interface Difference {
  kind: "payment.missing" | "refund.difference";
  paymentId: string;
  detail: string;
}

/**
 * Holds our books of one order against the bank's. The bank answered at some moment between the two readings of ours,
 * and refunds may have ended meanwhile: of those, whatever was true at one of them is no difference.
 * @param before as our books were before the bank was asked @param ours as they are after its answer
 * @returns `unknown`: payments that we have to take in (also those whose amount is another one: the intake says so);
 *   `differences`: what nobody can repair but a person
 */
export function compareBooks(
  before: readonly BookedPayment[],
  ours: readonly BookedPayment[],
  theirs: readonly ToldPayment[],
  nowMs: number,
): { unknown: ToldPayment[]; differences: Difference[] } {
  const differences: Difference[] = [];
  const booked = new Map(ours.map((one) => [one.paymentId, one]));
  const told = new Set(theirs.map(({ paymentId }) => paymentId));
  const unknown = theirs.filter(({ paymentId, amount }) => {
    const known = booked.get(paymentId)?.amount;
    return known?.amountMinor !== amount.amountMinor || known.currency !== amount.currency;
  });
  for (const { paymentId, amount, at } of ours) {
    if (told.has(paymentId) || Date.parse(at) + SETTLING_MS > nowMs) continue;
    const detail = `The bank does not know the payment ${paymentId} of ${text(amount)} any more.`;
    differences.push({ kind: "payment.missing", paymentId, detail });
  }
  for (const { paymentId, amount, refundedMinor: toldMinor } of theirs) {
    const known = booked.get(paymentId);
    if (!known || toldMinor === undefined) continue;
    const readings = [known, ...before.filter((one) => one.paymentId === paymentId)];
    const leastMinor = Math.min(...readings.map(({ refundedMinor }) => refundedMinor));
    // What is on its way may stand in the bank's books already, and ours follow.
    const mostMinor = Math.max(
      ...readings.map(({ refundedMinor, refundOpenMinor }) => refundedMinor + refundOpenMinor),
    );
    if (toldMinor >= leastMinor && toldMinor <= mostMinor) continue;
    const [bank, we] = [toldMinor, known.refundedMinor].map((amountMinor) =>
      text({ ...amount, amountMinor }),
    );
    const detail = `Of payment ${paymentId} the bank has given back ${bank}; by our books it is ${we}.`;
    differences.push({ kind: "refund.difference", paymentId, detail });
  }
  return { unknown, differences };
}

function text({ amountMinor, currency }: Money): string {
  return `${amountMinor} ${currency} (minor units)`;
}
