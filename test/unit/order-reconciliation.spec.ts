import { describe, expect, it } from "@jest/globals";
import type { OrderStatus } from "../../contracts/orders.ts";
import {
  type BookedPayment,
  compareBooks,
  nextPollAt,
  pollAfterPayment,
} from "../../services/orders/domain/order-reconciliation.ts";

const NOW = Date.parse("2026-01-01T12:00:00.000Z");
const amount = { amountMinor: 1000, currency: "EUR" };
/** Our books: what is back, and what is on its way. */
const books = (refundedMinor: number, refundOpenMinor: number): BookedPayment[] => [
  { paymentId: "p", amount, refundedMinor, refundOpenMinor, at: "2026-01-01T11:00:00.000Z" },
];
const kinds = (before: BookedPayment[], after: BookedPayment[], refundedMinor: number) =>
  compareBooks(before, after, [{ paymentId: "p", amount, refundedMinor }], NOW).differences.map(
    ({ kind }) => kind,
  );

describe("compareBooks, of the bank's refunds", () => {
  it.each<[string, BookedPayment[], BookedPayment[], number[], number[]]>([
    ["nothing happened meanwhile", books(300, 0), books(300, 0), [300], [0, 299, 301]],
    ["a refund stays on its way", books(100, 200), books(100, 200), [100, 300], [99, 301]],
    ["a refund is completed meanwhile", books(100, 200), books(300, 0), [100, 300], [99, 301]],
    ["a refund fails meanwhile", books(100, 200), books(100, 0), [100, 300], [99, 301]],
    ["a refund is asked for meanwhile", books(100, 0), books(100, 200), [100, 300], [99, 301]],
    ["a refund comes back meanwhile", books(300, 0), books(100, 0), [100, 300], [99, 301]],
    ["the payment is new", [], books(0, 200), [0, 200], [201]],
  ])(
    "when %s, accepts values that were true at some moment and reports others",
    (_, before, after, fine, wrong) => {
      for (const told of fine) expect([told, kinds(before, after, told)]).toEqual([told, []]);
      for (const told of wrong)
        expect([told, kinds(before, after, told)]).toEqual([told, ["refund.difference"]]);
    },
  );
});

describe("compareBooks, of a payment that the bank does not list", () => {
  it("reports it from ten minutes after the payment", () => {
    const atMs = (nowMs: number) =>
      compareBooks([], books(0, 0), [], nowMs).differences.map(({ kind }) => kind);
    const tenMinutesLater = Date.parse("2026-01-01T11:10:00.000Z");
    expect(atMs(tenMinutesLater - 1)).toEqual([]);
    expect(atMs(tenMinutesLater)).toEqual(["payment.missing"]);
  });
});

describe("compareBooks, of a payment that the bank lists", () => {
  it("records it unless it is stored with the same amount and currency", () => {
    const unknown = (...theirs: [paymentId: string, amountMinor: number, currency: string][]) =>
      compareBooks(
        [],
        books(0, 0),
        theirs.map(([paymentId, amountMinor, currency]) => ({
          paymentId,
          amount: { amountMinor, currency },
        })),
        NOW,
      ).unknown.map(({ paymentId }) => paymentId);
    expect(unknown(["p", 1000, "EUR"])).toEqual([]);
    expect(unknown(["p", 1001, "EUR"])).toEqual(["p"]);
    expect(unknown(["p", 1000, "CHF"])).toEqual(["p"]);
    expect(unknown(["q", 1000, "EUR"])).toEqual(["q"]);
    const unsaid = compareBooks(books(5, 0), books(5, 0), [{ paymentId: "p", amount }], NOW);
    expect(unsaid).toEqual({ unknown: [], differences: [] });
    const unbooked = { paymentId: "q", amount, refundedMinor: 5 };
    expect(compareBooks([], [], [unbooked], NOW)).toEqual({ unknown: [unbooked], differences: [] });
  });
});

describe("nextPollAt", () => {
  const at = (clock: string) => `2026-01-01T${clock}:00.000Z`;
  const [createdAt, paidAt] = [at("10:00"), at("10:07")];
  it.each<[OrderStatus, string | undefined, string, string | undefined]>([
    ["pending", undefined, at("10:06"), at("10:10")],
    ["expired", undefined, at("10:40"), at("11:00")],
    ["paid", paidAt, at("10:07"), at("10:37")],
    ["ready", undefined, at("10:06"), at("10:10")],
    ["ready", paidAt, at("10:37"), "2026-01-02T10:07:00.000Z"],
    ["failed", paidAt, at("23:00"), "2026-01-02T10:07:00.000Z"],
    ["delivered", paidAt, "2026-01-02T10:07:00.000Z", undefined],
    // It has ended and keeps nothing: as any other that was not paid.
    ["cancelled", paidAt, at("10:37"), at("11:00")],
    ["cancelled", paidAt, "2026-01-02T10:00:00.000Z", undefined],
  ])("of an order that is %s, paid at %s, after %s, is %s", (status, paid, now, expected) => {
    const order = { status, createdAt, ...(paid && { paidAt: paid }) };
    expect(nextPollAt(order, Date.parse(now))).toBe(expected);
  });
});

describe("pollAfterPayment", () => {
  it("is half an hour after the move that pays an order, and of no other decision", () => {
    const [createdAt, updatedAt] = ["2026-01-01T10:00:00.000Z", "2026-01-01T10:07:00.000Z"];
    const pollAfter = (from: OrderStatus | undefined, to: OrderStatus) =>
      pollAfterPayment({
        next: { status: to, createdAt, updatedAt },
        ...(from && { transition: { from, to } }),
      } as never);
    expect(pollAfter("pending", "paid")).toEqual({ paidAt: updatedAt, pollAt: "2026-01-01T10:37:00.000Z" });
    expect(pollAfter("pending", "expired")).toBeUndefined();
    expect(pollAfter("ready", "paid")).toBeUndefined();
    expect(pollAfter(undefined, "paid")).toBeUndefined();
  });
});

describe("the polls of a bank about an order", () => {
  const MINUTE_MS = 60_000;
  /** The minutes after `NOW` of all polls. */
  const minutesOf = (subject: Partial<Parameters<typeof nextPollAt>[0]>) => {
    const createdAt = new Date(NOW).toISOString();
    const minutes: number[] = [];
    for (let nowMs = NOW; ; nowMs = NOW + (minutes.at(-1) as number) * MINUTE_MS) {
      const next = nextPollAt({ status: "pending", createdAt, ...subject }, nowMs);
      if (next === undefined) return minutes;
      minutes.push((Date.parse(next) - NOW) / MINUTE_MS);
    }
  };

  it("that is not paid, come soon, around its expiry, and until the bank repeats no callback", () => {
    const unpaid = [2, 5, 10, 20, 28, 32, 60, 360, 1_440];
    expect(minutesOf({})).toEqual(unpaid);
    expect(minutesOf({ status: "expired" })).toEqual(unpaid);
  });

  it("that is paid, come after the checkout page has closed, and a day later", () => {
    expect(minutesOf({ status: "paid", paidAt: new Date(NOW).toISOString() })).toEqual([30, 1_440]);
  });
});
