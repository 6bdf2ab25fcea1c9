import { describe, expect, it } from "@jest/globals";
import { type BookedPayment, compareBooks } from "../../services/orders/order-reconciliation.ts";

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

describe("compareBooks, of what the bank says has gone back", () => {
  it.each<[string, BookedPayment[], BookedPayment[], number[], number[]]>([
    ["nothing happened meanwhile", books(300, 0), books(300, 0), [300], [0, 299, 301]],
    ["a refund stays on its way", books(100, 200), books(100, 200), [100, 300], [99, 301]],
    ["a refund is completed meanwhile", books(100, 200), books(300, 0), [100, 300], [99, 301]],
    ["a refund fails meanwhile", books(100, 200), books(100, 0), [100, 300], [99, 301]],
    ["a refund is asked for meanwhile", books(100, 0), books(100, 200), [100, 300], [99, 301]],
    ["a refund comes back meanwhile", books(300, 0), books(100, 0), [100, 300], [99, 301]],
    ["the payment is new", [], books(0, 200), [0, 200], [201]],
  ])("when %s, accepts what was true at some moment and tells the rest", (_, before, after, fine, wrong) => {
    for (const told of fine) expect([told, kinds(before, after, told)]).toEqual([told, []]);
    for (const told of wrong)
      expect([told, kinds(before, after, told)]).toEqual([told, ["refund.difference"]]);
  });
});
