import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { entriesOf, logPosition, poolChanges } from "../support/event-log.ts";
import { eventually } from "../support/eventually.ts";
import { deliverer, sampleQuote } from "../support/orders.ts";
import { type OrdersHarness, startOrders } from "../support/orders-service.ts";
import type { TestClaims } from "../support/tokens.ts";

let shop: OrdersHarness;
beforeAll(async () => {
  shop = await startOrders({ settings: { ASSIGNMENT: "offer", OFFER_SECONDS: 600 } });
});
afterAll(() => shop.stop());

/** Each test has a town of its own, far from the others. */
let towns = 0;
const newTown = () => ({ latitude: -60 + 2 * towns++, longitude: 30 });
type Town = ReturnType<typeof newTown>;

async function onDuty(town: Town, metersAway: number): Promise<TestClaims & { id: string }> {
  const who = deliverer();
  const position = { ...town, latitude: town.latitude + metersAway / 111_195 };
  await shop.as(who, "orders.setDuty", { onDuty: true, position });
  return who;
}
function ready(town: Town) {
  const { partner } = sampleQuote();
  return shop.placed("ready", { partner: { ...partner, pickup: { ...partner.pickup, position: town } } });
}
const offersOf = async (who: TestClaims) => (await shop.as(who, "orders.offers", {})).items;
const offered = (who: TestClaims, orderId: string) =>
  eventually(async () => expect(await offersOf(who)).toMatchObject([{ orderId }]));
const pooled = async (who: TestClaims, orderId: string) =>
  (await shop.as(who, "orders.available", { limit: 100 })).items.some((one) => one.orderId === orderId);
const expire = (orderId: string) =>
  shop.sql("UPDATE orders SET offer_until = now() - interval '1 second' WHERE id = $1", [orderId]);
const offerSteps = async (orderId: string) =>
  (await shop.steps(orderId)).slice((await shop.steps(orderId)).indexOf("order.ready") + 1);

describe("a ready order, with ASSIGNMENT=offer,", () => {
  it("is offered to the nearest courier alone, who accepts by taking it", async () => {
    const town = newTown();
    const [near, far] = [await onDuty(town, 200), await onDuty(town, 900)];
    const { orderId } = await ready(town);
    await offered(near, orderId);
    const [offer] = await offersOf(near);
    expect(offer).toMatchObject({ pickup: { position: town }, fee: { amountMinor: 450 } });
    expect(Date.parse(offer?.offerUntil ?? "")).toBeGreaterThan(Date.now());
    expect([await offersOf(far), await pooled(far, orderId), await pooled(near, orderId)]).toEqual([
      [],
      false,
      false,
    ]);
    const taken = shop.as(far, "orders.assign", { orderId });
    await expect(taken).rejects.toMatchObject({ type: "OFFERED_TO_ANOTHER", code: 409 });
    const mine = await shop.as(near, "orders.assign", { orderId });
    expect(mine).toMatchObject({ status: "delivering", delivererId: near.id });
    expect(await offersOf(near)).toEqual([]);
    expect(await offerSteps(orderId)).toEqual(["order.offered", "order.assigned"]);
    const [told] = await shop.told(orderId, "order.offered");
    expect(told?.data).toMatchObject({ status: "ready", offeredTo: near.id, offerUntil: offer?.offerUntil });
  });

  it("is offered to the next after a refusal or without an answer, then is in the pool", async () => {
    const town = newTown();
    const [first, second, third] = [
      await onDuty(town, 100),
      await onDuty(town, 300),
      await onDuty(town, 30_000),
    ];
    const { orderId } = await ready(town);
    await offered(first, orderId);
    const other = shop.as(second, "orders.decline", { orderId });
    await expect(other).rejects.toMatchObject({ type: "NOT_FOUND" });
    await shop.as(first, "orders.decline", { orderId });
    await offered(second, orderId);
    // A repeat changes nothing.
    await shop.as(first, "orders.decline", { orderId });
    expect(await offersOf(second)).toHaveLength(1);
    await expire(orderId);
    // The third courier is too far away for an offer, and not for the pool.
    await eventually(async () => expect(await pooled(third, orderId)).toBe(true));
    expect(await offersOf(third)).toEqual([]);
    const [entered] = await shop.told(orderId, "order.pooled");
    expect(entered?.data).toMatchObject({ nearbyDelivererIds: [first.id, second.id] });
    const [made] = await shop.told(orderId, "order.ready");
    expect(made?.data).not.toHaveProperty("nearbyDelivererIds");
    expect(await offerSteps(orderId)).toEqual([
      ...["order.offered", "order.offer_declined", "order.offered", "order.offer_expired", "order.pooled"],
    ]);
    const history = await shop.sql<{ type: string; actor: string; reason: string | null }>(
      "SELECT type, actor, reason FROM order_transitions WHERE order_id = $1 AND type LIKE 'order.offer%' ORDER BY version",
      [orderId],
    );
    expect(history.map(({ actor }) => actor)).toEqual(["platform", first.id, "platform", "platform"]);
    expect(history[0]?.reason).toContain(first.id);
    expect(history[3]?.reason).toContain(second.id);
    expect(await shop.as(third, "orders.assign", { orderId })).toMatchObject({ delivererId: third.id });
  });

  it("passes couriers with an offer, with as many orders as they may have, off duty or without a recent position", async () => {
    const town = newTown();
    const [full, off, silent] = [await onDuty(town, 10), await onDuty(town, 20), await onDuty(town, 30)];
    const [busy, free] = [await onDuty(town, 40), await onDuty(town, 500)];
    await shop.as(shop.admin, "orders.setCourierCapacity", { courierId: full.id, ordersAtOnce: 1 });
    await shop.as(shop.admin, "orders.reassign", {
      ...{ orderId: (await ready(newTown())).orderId, delivererId: full.id, reason: "One" },
    });
    await shop.as(off, "orders.setDuty", { onDuty: false });
    await shop.sql("UPDATE couriers SET position_at = now() - interval '20 minutes' WHERE id = $1", [
      silent.id,
    ]);
    const one = await ready(town);
    await offered(busy, one.orderId);
    const two = await ready(town);
    await offered(free, two.orderId);
    // An order under way counts as much as a kilometer.
    await shop.as(free, "orders.assign", { orderId: two.orderId });
    await shop.as(busy, "orders.assign", { orderId: one.orderId });
    const idle = await onDuty(town, 900);
    await offered(idle, (await ready(town)).orderId);
  });

  it("released by its courier, is offered to another one; cancelled, it is offered to nobody", async () => {
    const town = newTown();
    const [first, second] = [await onDuty(town, 100), await onDuty(town, 200)];
    const { orderId } = await ready(town);
    await offered(first, orderId);
    await shop.as(first, "orders.assign", { orderId });
    await shop.as(first, "orders.release", { orderId });
    await offered(second, orderId);
    // The repeat of the release is known although an offer came between.
    await shop.as(first, "orders.release", { orderId });
    await shop.as(shop.admin, "orders.cancel", { orderId });
    expect(await offersOf(second)).toEqual([]);
    const late = shop.as(second, "orders.assign", { orderId });
    await expect(late).rejects.toMatchObject({ type: "NOT_FOUND" });
  });

  it("keeps the deadline of its state, whatever the offers", async () => {
    const town = newTown();
    const who = await onDuty(town, 100);
    const order = await ready(town);
    const deadline = async () =>
      (await shop.sql("SELECT deadline_at, ready_since FROM orders WHERE id = $1", [order.orderId]))[0];
    const before = await deadline();
    await offered(who, order.orderId);
    await shop.as(who, "orders.decline", { orderId: order.orderId });
    await eventually(async () => expect(await pooled(who, order.orderId)).toBe(true));
    expect(await deadline()).toEqual(before);
  });

  it("accepted, declined and expired at once, has one winner", async () => {
    for (let race = 0; race < 6; race++) {
      const town = newTown();
      const who = await onDuty(town, 100);
      const { orderId } = await ready(town);
      await offered(who, orderId);
      const [accepted] = await Promise.allSettled([
        shop.as(who, "orders.assign", { orderId }),
        shop.as(who, "orders.decline", { orderId }),
        expire(orderId),
        shop.as(deliverer(), "orders.assign", { orderId }),
      ]);
      await eventually(async () => {
        const [row] = await shop.sql<{ status: string; pooled: boolean }>(
          "SELECT status, pooled_at IS NOT NULL AS pooled FROM orders WHERE id = $1",
          [orderId],
        );
        expect(row?.status === "delivering" || row?.pooled).toBe(true);
      });
      const { status, delivererId } = await shop.as(shop.admin, "orders.get", { orderId });
      if (accepted.status === "fulfilled")
        expect({ status, delivererId }).toEqual({ status: "delivering", delivererId: who.id });
      const versions = await shop.sql<{ version: number }>(
        "SELECT version FROM order_transitions WHERE order_id = $1 ORDER BY version",
        [orderId],
      );
      expect(new Set(versions.map(({ version }) => version)).size).toBe(versions.length);
    }
  });

  it("with many at once, gives each courier one offer at a time", async () => {
    const town = newTown();
    const couriers = await Promise.all(Array.from({ length: 6 }, (_, n) => onDuty(town, 100 + n)));
    const orders = await Promise.all(Array.from({ length: 6 }, () => ready(town)));
    const open = new Set(orders.map(({ orderId }) => orderId));
    await eventually(async () => {
      const held = (await Promise.all(couriers.map(offersOf))).flat();
      const inPool = await Promise.all([...open].map((orderId) => pooled(deliverer(), orderId)));
      expect(held.length + inPool.filter(Boolean).length).toBe(orders.length);
    });
    for (const who of couriers) {
      const offers = await offersOf(who);
      expect(offers.length).toBeLessThanOrEqual(1);
      for (const { orderId } of offers) {
        expect(open.delete(orderId)).toBe(true);
        expect(await shop.as(who, "orders.assign", { orderId })).toMatchObject({ delivererId: who.id });
      }
    }
  });
});

describe("the event log, with ASSIGNMENT=offer,", () => {
  it("shows an offer to its courier, ends it, and then opens the order to all", async () => {
    const town = newTown();
    const [first, second] = [await onDuty(town, 100), await onDuty(town, 300)];
    const after = await logPosition(shop);
    const { orderId } = await ready(town);
    await offered(first, orderId);
    const [{ shown } = {}] = (await entriesOf(shop, orderId, after)).filter(({ offeredTo }) => offeredTo);
    expect(shown).toMatchObject({ orderId, pickup: { position: town } });
    await shop.as(first, "orders.decline", { orderId });
    await offered(second, orderId);
    await expire(orderId);
    await eventually(async () => expect(await pooled(first, orderId)).toBe(true));
    const changes = await poolChanges(shop, orderId, after, "order.pooled");
    // Each step of an offer may be logged before or after the next one has happened.
    const told = changes.flatMap(({ offeredTo, offerEndedFor, pool }) => [
      ...(offerEndedFor ? [`${offerEndedFor} ended`] : []),
      ...(offeredTo ? [`${offeredTo} offered`] : []),
      ...(pool ? [pool] : []),
    ]);
    expect(told.filter((step) => step.includes(first.id))).toEqual([
      `${first.id} offered`,
      `${first.id} ended`,
    ]);
    expect(told.at(-1)).toBe("appeared");
    expect(told).not.toContain("vanished");
    await shop.as(second, "orders.assign", { orderId });
    const taken = (await poolChanges(shop, orderId, after, "order.assigned")).at(-1);
    expect(taken).toMatchObject({ type: "order.assigned", pool: "vanished" });
  });
});

describe("the setting of a partner", () => {
  const setFor = (partnerId: string, assignment?: "pool" | "offer") =>
    shop.as(shop.admin, "orders.setAssignment", { partnerId, ...(assignment && { assignment }) });
  const readyAt = (town: Town, partner: ReturnType<typeof sampleQuote>["partner"]) =>
    shop.placed("ready", { partner: { ...partner, pickup: { ...partner.pickup, position: town } } });

  it("pool, keeps its orders in the pool, beside a partner whose orders are offered", async () => {
    const town = newTown();
    const [own, other] = [sampleQuote().partner, sampleQuote().partner];
    expect(await setFor(own.id, "pool")).toEqual({ partnerId: own.id, assignment: "pool", isDefault: false });
    const who = await onDuty(town, 100);
    const { orderId } = await readyAt(town, own);
    const [made] = await shop.told(orderId, "order.ready");
    expect(made?.data).toMatchObject({ nearbyDelivererIds: [who.id] });
    const beside = await readyAt(town, other);
    await offered(who, beside.orderId);
    expect([await pooled(who, orderId), await pooled(who, beside.orderId)]).toEqual([true, false]);
    expect(await offerSteps(orderId)).toEqual([]);
    // It waits for no offer any more.
    await eventually(async () =>
      expect(
        await shop.sql("SELECT pooled_at IS NOT NULL AS is FROM orders WHERE id = $1", [orderId]),
      ).toEqual([{ is: true }]),
    );
    expect(await shop.as(who, "orders.assign", { orderId })).toMatchObject({ delivererId: who.id });
  });

  it("changed to pool during an offer, opens the order to all; without one, that of the platform applies again", async () => {
    const town = newTown();
    const { partner } = sampleQuote();
    const [who, other] = [await onDuty(town, 100), await onDuty(town, 200)];
    const { orderId } = await readyAt(town, partner);
    await offered(who, orderId);
    await setFor(partner.id, "pool");
    expect(await pooled(other, orderId)).toBe(true);
    await expire(orderId);
    await eventually(async () =>
      expect(await offerSteps(orderId)).toEqual(["order.offered", "order.offer_expired", "order.pooled"]),
    );
    expect(await setFor(partner.id)).toEqual({ partnerId: partner.id, assignment: "offer", isDefault: true });
    const next = await readyAt(town, partner);
    await offered(who, next.orderId);
    await shop.as(other, "orders.assign", { orderId });
    await shop.as(who, "orders.assign", { orderId: next.orderId });
  });

  it("is read by operators and the partner's staff, and set by admins", async () => {
    const { partner } = sampleQuote();
    const staff: TestClaims = { ...deliverer(), role: "partner", partnerId: partner.id };
    const read = (who: TestClaims) => shop.as(who, "orders.assignment", { partnerId: partner.id });
    expect(await read(staff)).toMatchObject({ assignment: "offer" });
    expect(await read(shop.admin)).toMatchObject({ assignment: "offer" });
    for (const who of [deliverer(), { ...staff, partnerId: sampleQuote().partner.id }]) {
      await expect(read(who)).rejects.toMatchObject({ type: "NOT_FOUND" });
    }
    const set = shop.as(staff, "orders.setAssignment", { partnerId: partner.id, assignment: "pool" });
    await expect(set).rejects.toMatchObject({ type: "FORBIDDEN" });
  });
});
