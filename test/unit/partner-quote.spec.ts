import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import type { OrderStatus } from "../../contracts/orders.ts";
import { quoteOf, type RequestedLine, type StockedOffer } from "../../services/partners/domain/quote.ts";
import {
  quoteDifferences,
  type Reservation,
  reservationAfter,
} from "../../services/partners/domain/stock.ts";

const address = { line1: "Kirchgasse 3", city: "Bern", postalCode: "3011", country: "CH" };
const partner = {
  ...{ id: "0190a000-0000-7000-8000-000000000001", title: "Bakery", phone: "+41315550100" },
  ...{ pickup: address, preparationMinutes: 15, proof: "pin" as const },
};
const euro = (amountMinor: number) => ({ amountMinor, currency: "EUR" });
const made = { checkId: "0190a000-0000-7000-8000-000000000002", nowMs: Date.parse("2026-11-22T10:00:00Z") };
const quote = (requested: RequestedLine[], offers: StockedOffer[], feeMinor = 300) =>
  quoteOf({ lines: requested, address, note: "Ring twice" }, partner, euro(feeMinor), offers, made);

const offer = fc.record(
  {
    title: fc.constant("Bread"),
    priceMinor: fc.integer({ min: 1, max: 100_000_000_000 }),
    currency: fc.constant("EUR"),
    stock: fc.integer({ min: 0, max: 200 }),
    active: fc.boolean(),
  },
  { requiredKeys: ["title", "priceMinor", "currency", "active"] },
);
const cart = fc
  .array(fc.record({ offer: fc.option(offer), quantity: fc.integer({ min: 1, max: 99 }) }), {
    minLength: 1,
    maxLength: 50,
  })
  .map((entries) => ({
    requested: entries.map(({ quantity }, at) => ({ productId: `p${at}`, quantity })),
    offers: entries.flatMap((entry, at) => (entry.offer ? [{ ...entry.offer, productId: `p${at}` }] : [])),
  }));

function attempt<T>(work: () => T): {
  value?: T;
  error?: { type: string; data: { lines: { productId: string }[] } };
} {
  try {
    return { value: work() };
  } catch (error) {
    return { error: error as { type: string; data: { lines: { productId: string }[] } } };
  }
}

describe("a quote", () => {
  it("of any cart, is the sum of the partner's own prices and the fee, or names the unavailable lines", () => {
    fc.assert(
      fc.property(cart, fc.nat(1_000_000), ({ requested, offers }, feeMinor) => {
        const byProduct = new Map(offers.map((one) => [one.productId, one]));
        const impossible = requested.filter(({ productId, quantity }) => {
          const found = byProduct.get(productId);
          return !found?.active || (found.stock !== undefined && found.stock < quantity);
        });
        const { value, error } = attempt(() => quote(requested, offers, feeMinor));
        if (impossible.length > 0) {
          expect(error?.type).toBe("PRODUCT_UNAVAILABLE");
          expect(error?.data.lines.map(({ productId }) => productId)).toEqual(
            impossible.map((one) => one.productId),
          );
          return;
        }
        const sum = requested.reduce(
          (total, line) =>
            total + BigInt(byProduct.get(line.productId)?.priceMinor ?? 0) * BigInt(line.quantity),
          BigInt(feeMinor),
        );
        expect(BigInt(value?.total.amountMinor ?? 0)).toBe(sum);
        expect(value?.lines.map(({ productId, quantity }) => ({ productId, quantity }))).toEqual(requested);
      }),
    );
  });

  it("contains the given address and note, and is valid for ten minutes", () => {
    const offers = [{ productId: "p0", title: "Bread", priceMinor: 450, currency: "EUR", active: true }];
    expect(quote([{ productId: "p0", quantity: 2 }], offers)).toEqual({
      checkId: made.checkId,
      expiresAt: "2026-11-22T10:10:00.000Z",
      partner,
      lines: [{ productId: "p0", title: "Bread", quantity: 2, unitPrice: euro(450) }],
      fee: euro(300),
      total: euro(1200),
      address,
      note: "Ring twice",
    });
  });

  it("with a product in two lines, is refused", () => {
    const requested = [
      { productId: "p0", quantity: 1 },
      { productId: "p0", quantity: 2 },
    ];
    expect(attempt(() => quote(requested, [])).error?.type).toBe("VALIDATION_ERROR");
  });

  it("compared with its own offers, shows no difference, and with others shows each", () => {
    fc.assert(
      fc.property(cart, ({ requested, offers }) => {
        const { value } = attempt(() => quote(requested, offers));
        fc.pre(value !== undefined);
        const expected = { lines: value?.lines ?? [], fee: euro(300) };
        expect(quoteDifferences(expected, { offers, fee: euro(300) })).toBeUndefined();
        expect(quoteDifferences(expected, { offers, fee: euro(301) })).toEqual({
          fee: { expected: euro(300), now: euro(301) },
          lines: [],
        });
        const dearer = offers.map((one) => ({ ...one, priceMinor: one.priceMinor + 1 }));
        expect(quoteDifferences(expected, { offers: dearer, fee: euro(300) })?.lines).toHaveLength(
          requested.length,
        );
        expect(quoteDifferences(expected, { offers: [], fee: euro(300) })?.lines).toHaveLength(
          requested.length,
        );
      }),
    );
  });
});

describe("stock, after messages of orders", () => {
  const states: (Reservation | undefined)[] = [
    undefined,
    { state: "held", orderVersion: 0 },
    { state: "committed", orderVersion: 4 },
    { state: "released", orderVersion: 4 },
  ];
  const statuses: OrderStatus[] = ["pending", "paid", "cancelled", "expired"];

  it("does not change by a message that is not newer than the known one", () => {
    for (const known of states) {
      if (!known) continue;
      for (const status of statuses) {
        expect(reservationAfter(known, { status, version: known.orderVersion })).toBeUndefined();
      }
    }
  });

  it.each([
    [undefined, "paid", undefined, { state: "committed", pieces: "retake" }],
    ["held", "paid", undefined, { state: "committed" }],
    ["committed", "paid", undefined, { state: "committed" }],
    ["released", "paid", undefined, { state: "committed", pieces: "retake" }],
    [undefined, "cancelled", "pending", { state: "released", pieces: "return" }],
    ["held", "expired", "pending", { state: "released", pieces: "return" }],
    ["committed", "cancelled", "paid", { state: "released", pieces: "return" }],
    ["held", "cancelled", "preparing", { state: "committed" }],
    ["committed", "cancelled", "ready", { state: "committed" }],
    ["committed", "cancelled", "failed", { state: "committed" }],
    ["released", "cancelled", "ready", { state: "released" }],
    ["held", "pending", undefined, { state: "held" }],
    [undefined, "pending", undefined, undefined],
  ] as const)("%s, by %s after %s, comes to %j", (state, status, previousStatus, expected) => {
    const known = state && { state, orderVersion: 1 };
    expect(reservationAfter(known, { status, previousStatus, version: 2 })).toEqual(expected);
  });

  it("is the same after the same messages in any order", () => {
    const news: { status: OrderStatus; previousStatus?: OrderStatus; version: number }[] = [
      { status: "pending", version: 1 },
      { status: "paid", previousStatus: "pending", version: 2 },
      { status: "cancelled", previousStatus: "paid", version: 3 },
    ];
    fc.assert(
      fc.property(fc.shuffledSubarray(news, { minLength: 3 }), (shuffled) => {
        let known: Reservation | undefined = { state: "held", orderVersion: 0 };
        let pieces = 1; // held at the start
        for (const one of shuffled) {
          const decision = reservationAfter(known, one);
          if (!decision) continue;
          if (decision.pieces === "return") pieces = 0;
          if (decision.pieces === "retake") pieces = 1;
          known = { state: decision.state, orderVersion: one.version };
        }
        expect({ state: known?.state, pieces }).toEqual({ state: "released", pieces: 0 });
      }),
    );
  });
});
