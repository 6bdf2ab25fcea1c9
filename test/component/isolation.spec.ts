import { afterAll, afterEach, beforeAll, describe, expect, it } from "@jest/globals";
import pg from "pg";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import { type HostileServers, startHostile } from "../support/hostile-server.ts";
import { sampleQuote } from "../support/orders.ts";
import { API_KEY, type OrdersHarness, startOrders, WEBHOOK_SECRET } from "../support/orders-service.ts";
import { lineOf, type PartnersHarness, reservationOf, startPartners } from "../support/partners.ts";

/** As in production: a few connections, and no long wait for one of them. */
const POOL = { POSTGRES_POOL: 10, POSTGRES_ACQUIRE_TIMEOUT_MS: 1_000 };
const LOOPS = 24;
const FEW_LOOPS = 6;
const HEALTHY = 15;

/** Calls repeatedly and concurrently until it is stopped. */
function hammer(work: () => Promise<unknown>, count = LOOPS) {
  let stopped = false;
  const outcomes = new Map<string, number>();
  const loop = async () => {
    while (!stopped) {
      const outcome = await work().then(
        () => "fine",
        ({ type, message }: { type?: string; message: string }) => type ?? message,
      );
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
  };
  const loops = Array.from({ length: count }, loop);
  return {
    outcomes,
    async stop() {
      stopped = true;
      await Promise.all(loops);
    },
  };
}

/**
 * None of the healthy calls fails. Another program of the machine can make one fail, so what counts is what fails in both
 * of two measurements.
 */
async function expectNoFailures(call: () => Promise<unknown>): Promise<void> {
  const failures = async () => {
    const failed: unknown[] = [];
    for (let count = 0; count < HEALTHY; count++) await call().catch((error) => failed.push(String(error)));
    return failed;
  };
  const first = await failures();
  if (first.length > 0) expect({ first, again: await failures() }).toMatchObject({ again: [] });
}

/** Holds rows of a table locked, like a transaction that was left open. */
async function holding(url: string, sql: string, values: unknown[]) {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query("BEGIN");
  await client.query(sql, values);
  return () => client.end();
}

/** Functions that stop what a test started, also when the test fails. */
const stops: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

describe("customers of healthy banks, beside a dead bank, a locked order and a store that hangs", () => {
  let shop: OrdersHarness;
  let hostile: HostileServers;
  let deadBank: string;
  beforeAll(async () => {
    hostile = await startHostile({ bank: (socket) => socket.resume(), store: (socket) => socket.resume() });
    const MONGO_URL = `mongodb://127.0.0.1:${portOf("store")}`;
    shop = await startOrders({ settings: { ...POOL, MONGO_URL } });
    ({ id: deadBank } = await shop.as({ id: newId(), role: "admin" }, "orders.createBank", {
      title: "Dead bank",
      adapter: "sandbox",
      settings: { apiKey: API_KEY, webhookSecret: WEBHOOK_SECRET },
      webcheckoutUrl: `http://127.0.0.1:${portOf("bank")}`,
      active: true,
    }));
  });
  afterAll(async () => {
    await shop.stop();
    await hostile.stop();
  });

  const portOf = (which: string) => hostile.servers.find(({ name }) => name === which)?.port;
  const atBank = (bankId: string) => {
    const id = newId();
    const quote = sampleQuote();
    const customer = { id, name: "Ada Byron" };
    return shop.as({ id, role: "customer" }, "orders.confirm", { bankId, quote, customer });
  };

  it("confirm without a single failure", async () => {
    const held = await shop.confirmed();
    const admin = { id: newId(), role: "admin" } as const;
    const release = await holding(shop.url, "SELECT 1 FROM orders WHERE id = $1 FOR UPDATE", [held.orderId]);
    const cancelling = hammer(() => shop.as(admin, "orders.cancel", { orderId: held.orderId, reason: "x" }));
    const confirming = hammer(() => atBank(deadBank), FEW_LOOPS);
    const { customer, orderId } = held;
    const reading = hammer(() => shop.as(customer, "orders.history", { orderId }), FEW_LOOPS);
    stops.push(release, cancelling.stop, confirming.stop, reading.stop);
    await eventually(() =>
      expect(confirming.outcomes.get("BANK_UNAVAILABLE")).toBeGreaterThan(5 * FEW_LOOPS),
    );
    await expectNoFailures(async () =>
      expect(await atBank(shop.bankId)).toMatchObject({ status: "pending" }),
    );
    expect(confirming.outcomes.has("fine")).toBe(false);
    expect(reading.outcomes.has("fine")).toBe(false);
  });

  it("confirm at a bank soon after its return, and no stock was reserved for orders that it could not open", async () => {
    const reservedBefore = shop.reserved.length;
    const confirming = hammer(() => atBank(deadBank), FEW_LOOPS);
    stops.push(confirming.stop);
    await eventually(() =>
      expect(confirming.outcomes.get("BANK_UNAVAILABLE")).toBeGreaterThan(50 * FEW_LOOPS),
    );
    await confirming.stop();
    const refused = confirming.outcomes.get("BANK_UNAVAILABLE") ?? 0;
    expect(shop.reserved.length - reservedBefore).toBeLessThan(refused / 2);
    await shop.as({ id: newId(), role: "admin" }, "orders.updateBank", {
      bankId: deadBank,
      webcheckoutUrl: shop.bankUrl,
    });
    await eventually(async () => expect(await atBank(deadBank)).toMatchObject({ status: "pending" }));
  });
});

describe("orders from healthy partners, beside a popular product whose row is locked", () => {
  let shop: PartnersHarness;
  beforeAll(async () => {
    shop = await startPartners({ settings: POOL });
  });
  afterAll(() => shop.stop());

  it("take their stock without a single failure", async () => {
    const [hot, healthy] = [await shop.openPartner(), await shop.openPartner()];
    const [wanted, offer] = [await shop.product(hot.id, { stock: 100_000 }), await shop.product(healthy.id)];
    const release = await holding(shop.url, "SELECT 1 FROM availability WHERE product_id = $1 FOR UPDATE", [
      wanted.productId,
    ]);
    const rush = hammer(() => shop.bare("partners.reserve", reservationOf(hot, [lineOf(wanted, 1)])));
    stops.push(release, rush.stop);
    await eventually(() =>
      expect([...rush.outcomes.values()].reduce((a, b) => a + b, 0)).toBeGreaterThan(LOOPS),
    );
    await expectNoFailures(() => shop.bare("partners.reserve", reservationOf(healthy, [lineOf(offer, 1)])));
    await release();
    await eventually(() => expect(rush.outcomes.get("fine")).toBeGreaterThan(0));
  });
});
