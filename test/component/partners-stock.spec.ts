import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import type { Params } from "../../contracts/actions.ts";
import type { Offer } from "../../contracts/catalogue.ts";
import { typeOf } from "../../contracts/errors.ts";
import type { Partner } from "../../contracts/partners.ts";
import { isoTime } from "../../lib/clock.ts";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import { lineOf, orderOf, type PartnersHarness, reservationOf, startPartners } from "../support/partners.ts";
import { createDatabase } from "../support/postgres.ts";

const STOCK = 8;
const RACES = 15;
const RIVALS = 20;
const EXPECTED_REFUSALS = ["QUOTE_CHANGED", "CHECK_EXPIRED"];

let shop: PartnersHarness;
let partner: Partner;
beforeAll(async () => {
  shop = await startPartners({ sweep: { intervalMs: 10, graceMs: 0 } });
  partner = await shop.openPartner();
});
afterAll(() => shop.stop());

/** Pieces on sale and pieces that orders hold, by product; together they are what was put in. */
async function pieces(of: PartnersHarness = shop): Promise<Map<string, { stock: number; taken: number }>> {
  const found = await of.sql<{ productId: string; stock: number; taken: number }>(
    `SELECT a.product_id AS "productId", a.stock, coalesce(sum(l.taken), 0)::int AS taken
     FROM availability a LEFT JOIN stock_reservation_lines l USING (product_id) GROUP BY 1, 2`,
  );
  return new Map(found.map(({ productId, stock, taken }) => [productId, { stock, taken }]));
}

async function quiet(): Promise<void> {
  await eventually(async () => {
    const waiting = await shop.sql("SELECT 1 FROM inbox WHERE state <> 'done'");
    const overdue = await shop.sql(
      "SELECT 1 FROM stock_reservations WHERE state = 'held' AND order_version = 0 AND expires_at < now()",
    );
    expect([...waiting, ...overdue]).toEqual([]);
  });
}

describe("stock", () => {
  it("with reserved pieces, is sold once, and changes from an old version are refused", async () => {
    const offer = await shop.product(partner.id, { stock: 5 });
    const { productId, price } = offer;
    const seen = await shop.asAdmin("partners.getAvailability", { partnerId: partner.id, productId });
    expect(seen).toMatchObject({ stock: 5, price });
    await shop.bare("partners.reserve", reservationOf(partner, [lineOf(offer, 3)]));
    const set = (more: Partial<Params<"partners.setAvailability">>) =>
      shop.asAdmin("partners.setAvailability", {
        partnerId: partner.id,
        productId,
        price,
        active: true,
        ...more,
      });
    expect(await set({})).toMatchObject({ stock: 2 });
    await expect(set({ stock: 5 })).rejects.toMatchObject({ type: "PRECONDITION_REQUIRED", code: 428 });
    const { version: expectedVersion } = seen;
    for (const change of [{ stock: 5 }, { stock: 2 }, { stock: null }, {}]) {
      const stale = set({ ...change, expectedVersion });
      await expect(stale).rejects.toMatchObject({ type: "PRECONDITION_FAILED", code: 412 });
    }
    await expect(
      shop.bare("partners.reserve", reservationOf(partner, [lineOf(offer, 5)])),
    ).rejects.toMatchObject({ type: "QUOTE_CHANGED" });
    expect((await pieces()).get(productId)).toEqual({ stock: 2, taken: 3 });

    const now = await shop.asAdmin("partners.getAvailability", { partnerId: partner.id, productId });
    const counted = await set({ stock: 40, expectedVersion: now.version });
    expect(counted).toMatchObject({ stock: 40, version: now.version + 1 });
    // As long as no order takes any, the partner's own number is the last one.
    expect(await set({ stock: 4 })).toMatchObject({ stock: 4 });
    await shop.bare("partners.reserve", reservationOf(partner, [lineOf(offer, 1)]));
    await expect(set({ stock: null })).rejects.toMatchObject({ type: "PRECONDITION_REQUIRED" });
    const { version: last } = await set({});
    expect(await set({ stock: null, expectedVersion: last })).not.toHaveProperty("stock");
    // To begin to count overwrites nothing.
    expect(await set({ stock: 7 })).toMatchObject({ stock: 7 });
  });

  it("changed by orders, cannot be set with an earlier version", async () => {
    const offer = await shop.product(partner.id, { stock: 5 });
    const { productId, price } = offer;
    const own = { partnerId: partner.id, productId };
    const seen = () => shop.asAdmin("partners.getAvailability", own);
    const wanted = reservationOf(partner, [lineOf(offer, 3)]);
    for (const [act, left] of [
      [() => shop.bare("partners.reserve", wanted), 2],
      [() => shop.bare("partners.release", { orderId: wanted.orderId }), 5],
      [() => shop.say("order.paid", orderOf(wanted)), 2],
    ] as const) {
      const { version: expectedVersion } = await seen();
      await act();
      await eventually(async () => expect(await seen()).toMatchObject({ stock: left }));
      const stale = { ...own, price, active: true, stock: 9, expectedVersion };
      await expect(shop.asAdmin("partners.setAvailability", stale)).rejects.toMatchObject({
        type: "PRECONDITION_FAILED",
      });
    }
  });

  it("of products that a rejection by hand names, is 0 once, counted or not; other lines are back on sale", async () => {
    const counted = await shop.product(partner.id, { stock: 5 });
    const uncounted = await shop.product(partner.id);
    const other = await shop.product(partner.id, { stock: 5 });
    const lines = [lineOf(counted, 2), lineOf(uncounted, 1), lineOf(other, 1)];
    const wanted = reservationOf(partner, lines);
    await shop.bare("partners.reserve", wanted);
    const productIds = lines.map(({ productId }) => productId);
    const stocks = async () =>
      Promise.all(
        productIds.map(async (productId) => {
          const { stock } = await shop.asAdmin("partners.getAvailability", {
            partnerId: partner.id,
            productId,
          });
          return stock;
        }),
      );
    const handled = (id: string) =>
      eventually(async () => {
        const [row] = await shop.sql<{ state: string }>("SELECT state FROM inbox WHERE message_id = $1", [
          id,
        ]);
        expect(row?.state).toBe("done");
      });
    const rejected = orderOf(wanted, {
      ...{ version: 3, status: "cancelled", previousStatus: "paid" },
      rejection: { reason: "out_of_stock", outOfStock: productIds.slice(0, 2) },
    });
    const { id } = await shop.say("order.rejected", rejected);
    await handled(id);
    expect(await stocks()).toEqual([0, 0, 5]);
    await eventually(() =>
      expect(shop.said).toContainEqual(
        expect.objectContaining({
          type: "availability.changed",
          data: expect.objectContaining({
            availability: expect.objectContaining({ productId: productIds[1], stock: 0 }),
          }),
        }),
      ),
    );
    // Restocked by the partner: the same rejection, sent again with another id, does not empty it again.
    await shop.asAdmin("partners.changeStock", {
      ...{ partnerId: partner.id, productId: productIds[0] as string },
      change: 7,
    });
    await handled((await shop.say("order.rejected", rejected)).id);
    expect(await stocks()).toEqual([7, 0, 5]);
  });

  it("that the partner has set since the rejection, stays as it is", async () => {
    const offer = await shop.product(partner.id, { stock: 5 });
    const wanted = reservationOf(partner, [lineOf(offer, 2)]);
    await shop.bare("partners.reserve", wanted);
    const rejected = orderOf(wanted, {
      ...{ version: 3, status: "cancelled", previousStatus: "preparing" },
      rejection: { reason: "out_of_stock", outOfStock: [offer.productId] },
    });
    // The message was late, as after an outage of Partners.
    const { id } = await shop.say("order.rejected", rejected, { time: isoTime(Date.now() - 3_600_000) });
    await eventually(async () => {
      const [row] = await shop.sql<{ state: string }>("SELECT state FROM inbox WHERE message_id = $1", [id]);
      expect(row?.state).toBe("done");
    });
    const now = await shop.asAdmin("partners.getAvailability", {
      ...{ partnerId: partner.id, productId: offer.productId },
    });
    expect(now.stock).toBe(3);
  });

  it("is changed by a difference, within its limits and only if pieces are counted", async () => {
    const { productId } = await shop.product(partner.id, { stock: 5 });
    const offer = { partnerId: partner.id, productId };
    const change = (by: number) => shop.asAdmin("partners.changeStock", { ...offer, change: by });
    expect(await change(3)).toMatchObject({ stock: 8, version: 2 });
    expect(await change(-8)).toMatchObject({ stock: 0 });
    await expect(change(-1)).rejects.toMatchObject({ type: "PRODUCT_UNAVAILABLE", data: { available: 0 } });
    expect(await change(1_000_000)).toMatchObject({ stock: 1_000_000 });
    await expect(change(1)).rejects.toMatchObject({ type: "VALIDATION_ERROR" });
    const uncounted = await shop.product(partner.id);
    await expect(
      shop.asAdmin("partners.changeStock", { ...offer, productId: uncounted.productId, change: 1 }),
    ).rejects.toMatchObject({ type: "VALIDATION_ERROR" });
    await expect(
      shop.asAdmin("partners.changeStock", { ...offer, productId: newId(), change: 1 }),
    ).rejects.toMatchObject({ type: "NOT_FOUND" });
  });

  it(`of one last piece, wanted by ${RIVALS} orders at once, goes to exactly one, in each of ${RACES} races`, async () => {
    for (let race = 0; race < RACES; race++) {
      const offer = await shop.product(partner.id, { stock: 1 });
      const answers = await Promise.allSettled(
        Array.from({ length: RIVALS }, () =>
          shop.bare("partners.reserve", reservationOf(partner, [lineOf(offer, 1)])),
        ),
      );
      expect(answers.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
      expect((await pieces()).get(offer.productId)).toEqual({ stock: 0, taken: 1 });
    }
  });

  it("of products that two orders list in opposite order, is reserved without a deadlock", async () => {
    const offers = [
      await shop.product(partner.id, { stock: 100_000 }),
      await shop.product(partner.id, { stock: 100_000 }),
      await shop.product(partner.id, { stock: 100_000 }),
    ];
    const lines = offers.map((offer) => lineOf(offer, 1));
    const orders = Array.from({ length: 60 }, (_, at) =>
      shop.bare("partners.reserve", reservationOf(partner, at % 2 ? lines : lines.toReversed())),
    );
    await Promise.all(orders);
    for (const { productId } of offers) {
      expect((await pieces()).get(productId)).toEqual({ stock: 99_940, taken: 60 });
    }
  });

  it("under concurrent orders and changes of the partner, is conserved, and each order holds all of its pieces or none", async () => {
    const step = fc.record({
      order: fc.nat(5),
      does: fc.constantFrom("reserve", "release", "paid", "cancelled", "expired", "forgotten"),
    });
    const management = fc.record({
      product: fc.nat(2),
      does: fc.constantFrom("price", "restock", "withdraw", "recount"),
    });
    const cart = fc.uniqueArray(fc.tuple(fc.nat(2), fc.integer({ min: 1, max: 4 })), {
      selector: ([product]) => product,
      minLength: 1,
    });
    const scenario = fc.record({
      carts: fc.array(cart, { minLength: 6, maxLength: 6 }),
      steps: fc.array(step, { minLength: 5, maxLength: 25 }),
      managed: fc.array(management, { maxLength: 8 }),
    });
    await fc.assert(
      fc.asyncProperty(scenario, async ({ carts, steps, managed }) => {
        const offers: Offer[] = [];
        for (let count = 0; count < 3; count++) offers.push(await shop.product(partner.id, { stock: STOCK }));
        const orders = carts.map((wanted) =>
          reservationOf(
            partner,
            wanted.map(([product, quantity]) => lineOf(offers[product] as Offer, quantity)),
          ),
        );
        const [added] = await Promise.all([
          Promise.all(managed.map(({ product, does }) => manage(offers[product] as Offer, does))),
          ...steps.map(({ order, does }) => act(orders[order] as Params<"partners.reserve">, does)),
        ]);
        await quiet();
        const now = await pieces();
        for (const [index, { productId }] of offers.entries()) {
          const { stock = -1, taken = -1 } = now.get(productId) ?? {};
          expect(stock).toBeGreaterThanOrEqual(0);
          const more = managed.map(({ product }, at) => (product === index ? (added[at] as number) : 0));
          expect(stock + taken).toBe(more.reduce((sum, pieces) => sum + pieces, STOCK));
        }
        await expectWhole(orders.map(({ orderId }) => orderId));
      }),
      { numRuns: 15, endOnFailure: true },
    );
  });

  it("of orders whose processes were killed during the reservation, is returned, and no late order takes it", async () => {
    const database = await createDatabase("partners");
    const expiresAt = isoTime(Date.now() + 600_000);
    const child = spawn(process.execPath, [join(import.meta.dirname, "../support/partners-crash.ts")], {
      env: { ...process.env, POSTGRES_URL: database.url, EXPIRES_AT: expiresAt },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const promised: Params<"partners.reserve">[] = [];
    for await (const line of createInterface(child.stdout)) {
      if (line.startsWith("{")) promised.push(JSON.parse(line));
      if (promised.length === 40) child.kill("SIGKILL");
    }
    if (child.signalCode === null) await once(child, "exit");
    expect(child.signalCode).toBe("SIGKILL");

    const next = await startPartners({ url: database.url, sweep: { intervalMs: 20, graceMs: 0 } });
    const held = [...(await pieces(next)).values()];
    expect(held).toHaveLength(2);
    for (const { stock, taken } of held) {
      expect(stock + taken).toBe(100_000);
      expect(taken).toBeGreaterThanOrEqual(promised.length * 3); // what was promised had been committed
    }
    await next.sql("UPDATE stock_reservations SET expires_at = now()");
    await eventually(async () => {
      for (const now of (await pieces(next)).values()) expect(now).toEqual({ stock: 100_000, taken: 0 });
    });
    const late = next.bare("partners.reserve", promised[0] as Params<"partners.reserve">);
    await expect(late).rejects.toMatchObject({ type: "CHECK_EXPIRED" });
    await next.stop();
    await database.drop();
  });
});

/** The partner's staff changes an offer meanwhile. @returns the number of pieces that this puts on sale */
async function manage({ productId, price }: Offer, does: string): Promise<number> {
  const offer = { partnerId: partner.id, productId };
  const refusedAs = (type: string) => (error: unknown) => {
    if (typeOf(error) !== type) throw error;
  };
  switch (does) {
    case "price":
      await shop.asAdmin("partners.setAvailability", { ...offer, price, active: true });
      return 0;
    case "restock":
      await shop.asAdmin("partners.changeStock", { ...offer, change: 3 });
      return 3;
    case "withdraw":
      return (await shop
        .asAdmin("partners.changeStock", { ...offer, change: -2 })
        .catch(refusedAs("PRODUCT_UNAVAILABLE")))
        ? -2
        : 0;
    default: {
      const { stock = 0, version: expectedVersion } = await shop.asAdmin("partners.getAvailability", offer);
      const recount = { ...offer, price, active: true, stock: stock + 2, expectedVersion };
      return (await shop.asAdmin("partners.setAvailability", recount).catch(refusedAs("PRECONDITION_FAILED")))
        ? 2
        : 0;
    }
  }
}

async function act(wanted: Params<"partners.reserve">, does: string): Promise<void> {
  const ended = { version: 3, previousStatus: "paid" } as const;
  switch (does) {
    case "reserve":
      await shop.bare("partners.reserve", wanted).catch((error) => {
        if (!EXPECTED_REFUSALS.includes(typeOf(error) ?? "")) throw error;
      });
      return;
    case "release":
      await shop.bare("partners.release", { orderId: wanted.orderId });
      return;
    case "paid":
      await shop.say("order.paid", orderOf(wanted));
      return;
    case "cancelled":
    case "expired":
      await shop.say(`order.${does}`, orderOf(wanted, { ...ended, status: does }));
      return;
    case "forgotten":
      await shop.sql(
        "UPDATE stock_reservations SET expires_at = now() WHERE order_id = $1 AND state = 'held'",
        [wanted.orderId],
      );
  }
}

/** Held and committed orders have all of their pieces (unless too few were left when they came back), others none. */
async function expectWhole(orderIds: string[]): Promise<void> {
  const torn = await shop.sql(
    `SELECT r.order_id, r.state, r.reason FROM stock_reservations r JOIN stock_reservation_lines l USING (order_id)
     WHERE r.order_id = ANY ($1)
     GROUP BY 1, 2, 3
     HAVING (r.state = 'released' AND sum(l.taken) > 0) OR (r.state = 'held' AND bool_or(l.taken = 0))`,
    [orderIds],
  );
  expect(torn).toEqual([]);
}
