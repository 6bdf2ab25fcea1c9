import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import pg from "pg";
import { numberCandidates } from "../../services/orders/domain/order-number.ts";
import { eventually } from "../support/eventually.ts";
import { sampleQuote, staffOf } from "../support/orders.ts";
import { type OrdersHarness, startOrders } from "../support/orders-service.ts";

let shop: OrdersHarness;
beforeAll(async () => {
  shop = await startOrders();
});
afterAll(() => shop.stop());

/** A quote whose order prefers the number that another order has. */
async function rivalOf(takenBy: { orderId: string }, quote = sampleQuote()) {
  const [number] = numberCandidates(quote.checkId);
  await shop.sql("UPDATE orders SET number = $2 WHERE id = $1", [takenBy.orderId, number]);
  return { quote, number };
}

describe("an order's number", () => {
  it("is in the confirmation, in every view, in the history's answer and in every message", async () => {
    const order = await shop.placed("delivering");
    const { orderId, confirmation, customer, deliverer } = order;
    const [number] = numberCandidates(orderId);
    expect(confirmation.number).toBe(number);
    for (const who of [customer, deliverer, staffOf(order), shop.admin]) {
      expect(await shop.as(who, "orders.get", { orderId })).toMatchObject({ number });
      const { items } = await shop.as(who, "orders.list", {});
      expect(items).toContainEqual(expect.objectContaining({ id: orderId, number }));
      expect(await shop.as(who, "orders.history", { orderId })).toMatchObject({ number });
    }
    expect((await shop.as(shop.admin, "orders.diagnosis", { orderId })).order.number).toBe(number);
    // The partner hears of an order when it is paid.
    const pending = await shop.as(shop.admin, "orders.diagnosis", {
      orderId: (await shop.confirmed()).orderId,
    });
    expect(pending).not.toHaveProperty("partnerNotice");
    const told = await shop.told(orderId, "order.created");
    const all = [...told, ...shop.saidOf(orderId).filter(({ type }) => type.startsWith("order."))];
    expect(all.length).toBeGreaterThan(4);
    for (const { data } of all) expect(data).toMatchObject({ number });
    const waiting = await shop.placed("ready");
    const { items } = await shop.as(deliverer, "orders.available", { limit: 100 });
    expect(items).toContainEqual(
      expect.objectContaining({ orderId: waiting.orderId, number: waiting.confirmation.number }),
    );
  });

  it("that another order of the partner has today, is not given again; another partner's is", async () => {
    const first = await shop.confirmed();
    const { partner } = first.quote;
    const { quote, number } = await rivalOf(first, sampleQuote({ partner }));
    const second = await shop.confirmed(quote);
    expect(second.confirmation.number).toBe(numberCandidates(quote.checkId)[1]);
    const elsewhere = sampleQuote();
    await rivalOf(first, elsewhere);
    expect((await shop.confirmed(elsewhere)).confirmation.number).toBe(
      numberCandidates(elsewhere.checkId)[0],
    );
    // Two days later it is free again.
    const later = await rivalOf(first, sampleQuote({ partner }));
    await shop.sql("UPDATE orders SET created_at = created_at - interval '2 days' WHERE id = $1", [
      first.orderId,
    ]);
    expect((await shop.confirmed(later.quote)).confirmation.number).toBe(later.number);
    expect(number).not.toBe(later.number);
  });

  it("that a concurrent confirmation takes first, is another one, and the confirmation succeeds", async () => {
    const first = await shop.confirmed();
    const quote = sampleQuote({ partner: first.quote.partner });
    const [number, next] = numberCandidates(quote.checkId);
    const rival = new pg.Client({ connectionString: shop.url });
    await rival.connect();
    try {
      await rival.query("BEGIN");
      await rival.query("UPDATE orders SET number = $2 WHERE id = $1", [first.orderId, number]);
      const confirming = shop.confirmed(quote);
      // The confirmation has read before the other one commits, and now waits for it at the index.
      await eventually(async () => {
        const waiting = await shop.sql(
          `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
           AND query LIKE '%INSERT INTO orders%'`,
        );
        expect(waiting).toHaveLength(1);
      });
      await rival.query("COMMIT");
      expect((await confirming).confirmation.number).toBe(next);
    } finally {
      await rival.end();
    }
  });

  it("of which all candidates are taken, is missing: no order is refused for it", async () => {
    const {
      quote: { partner },
    } = await shop.confirmed();
    const quote = sampleQuote({ partner });
    for (const number of numberCandidates(quote.checkId)) {
      const other = await shop.confirmed(sampleQuote({ partner }));
      await shop.sql("UPDATE orders SET number = $2 WHERE id = $1", [other.orderId, number]);
    }
    const { confirmation, customer, orderId } = await shop.confirmed(quote);
    expect(confirmation).not.toHaveProperty("number");
    expect(await shop.get({ customer, orderId })).not.toHaveProperty("number");
  });
});
