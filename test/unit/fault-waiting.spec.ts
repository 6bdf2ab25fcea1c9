import { describe, expect, it } from "@jest/globals";
import { type UntoldOrder, unfair } from "../faults/fair-waiting.ts";

const BACK_AT_MS = Date.parse("2026-11-22T12:00:00Z");

/** An order whose partner was notified late and then had its whole time. */
function fairOrder(changes: Partial<UntoldOrder> = {}): UntoldOrder {
  return {
    ...{ orderId: "o1", fault: "NATS away", cause: /outbox of Orders/, movesUntold: [], chargedMinor: 0 },
    alerts: [
      "The order has been paid for too long: order.paid has been waiting in the outbox of Orders since 9:00.",
    ],
    diagnosis: "order.paid has been waiting in the outbox of Orders since 9:00",
    ...{ found: "broker_away", finding: "broker_away" },
    ...{ toldUnder: ["m1"], backAtMs: BACK_AT_MS, notifiedAtMs: BACK_AT_MS + 1_000, timeLeftMs: 599_000 },
    ...{ status: "paid", wanted: "paid" },
    ...changes,
  };
}

/** Planted violations, each with words of the line that reports it. */
const planted: [mistake: string, changes: Partial<UntoldOrder>, found: RegExp][] = [
  [
    "an order that was cancelled before its partner knew of it",
    { movesUntold: ["cancelled"] },
    /became cancelled/,
  ],
  ["a partner that bears a refund of it", { chargedMinor: 790 }, /the partner bears 790/],
  ["no alert", { alerts: [] }, /no alert was raised/],
  [
    "an alert without the reason",
    { alerts: ["The order has been paid for too long."] },
    /no alert .* names the cause/,
  ],
  ["a diagnosis without the reason", { diagnosis: "nothing" }, /diagnosis .* does not name the cause/],
  ["a finding that names another cause", { found: "partner_silent" }, /first finding .* is partner_silent/],
  ["a partner that was never notified", { toldUnder: [] }, /under 0 ids/],
  ["a partner that was notified under two ids", { toldUnder: ["m1", "m2"] }, /under 2 ids/],
  ["a time to accept that never began", { notifiedAtMs: undefined }, /never began/],
  [
    "a time to accept that counts from the payment",
    { notifiedAtMs: BACK_AT_MS - 10_000_000 },
    /began before/,
  ],
  ["a partner that has one minute left", { timeLeftMs: 60_000 }, /60000 ms left/],
  ["an order that does not go on", { wanted: "delivered" }, /is paid instead of delivered/],
];

describe("the check of P24", () => {
  it("finds nothing in an order whose partner was notified late and had its whole time", () => {
    expect(unfair([fairOrder(), fairOrder({ toldUnder: ["m1", "m1"] })])).toEqual([]);
  });

  it("finds nothing in an order that was accepted before Orders had the notice", () => {
    const accepted = fairOrder({ notifiedAtMs: undefined, status: "delivered", wanted: "delivered" });
    expect(unfair([accepted])).toEqual([]);
  });

  it("does not require a notice of an order that its customer cancelled meanwhile", () => {
    const nothing = { toldUnder: [], notifiedAtMs: undefined, timeLeftMs: undefined };
    expect(unfair([fairOrder({ ...nothing, status: "cancelled", wanted: "cancelled" })])).toEqual([]);
  });

  it.each(planted)("finds %s", (_mistake, changes, found) => {
    expect(unfair([fairOrder(changes)])).toEqual([expect.stringMatching(found)]);
  });
});
