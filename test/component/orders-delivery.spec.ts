import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { alert } from "../../contracts/alerts.ts";
import { type Message, message, type OrderSnapshot } from "../../contracts/messages.ts";
import { isoTime } from "../../lib/clock.ts";
import { newId } from "../../lib/ids.ts";
import type { Database } from "../../lib/sql/database.ts";
import type { Postgres } from "../../mixins/postgres/postgres.mixin.ts";
import { pruneLog } from "../../services/orders/store/event-log.repository.ts";
import { eventLog } from "../../services/orders/use-cases/event-log.ts";
import { entriesOf, logPosition, poolChanges } from "../support/event-log.ts";
import { eventually } from "../support/eventually.ts";
import { deliverer, sampleQuote, staffOf } from "../support/orders.ts";
import { type OrdersHarness, startOrders } from "../support/orders-service.ts";
import { openPool } from "../support/postgres.ts";

let shop: OrdersHarness;
beforeAll(async () => {
  shop = await startOrders();
});
let pool: Database;
afterAll(async () => {
  await pool?.close();
  await shop.stop();
});
/** The log as a second process has it. */
function logDeps() {
  pool ??= openPool(shop, 3);
  return { postgres: { db: pool } as unknown as Postgres, live: { publish: () => undefined } };
}

describe("orders.assign", () => {
  it("by fifty deliverers at once, succeeds for exactly one; the others get ALREADY_ASSIGNED", async () => {
    const order = await shop.placed("ready");
    const everybody = Array.from({ length: 50 }, deliverer);
    const claims = await Promise.allSettled(
      everybody.map((who) => shop.as(who, "orders.assign", { orderId: order.orderId })),
    );
    const won = claims.flatMap((one, index) => (one.status === "fulfilled" ? [{ index, ...one.value }] : []));
    expect(won).toHaveLength(1);
    expect(won[0]).toMatchObject({
      status: "delivering",
      delivererId: everybody[won[0]?.index as number]?.id,
    });
    for (const one of claims) {
      if (one.status === "rejected")
        expect(one.reason).toMatchObject({ type: "ALREADY_ASSIGNED", code: 409 });
    }
    expect((await shop.steps(order.orderId)).filter((type) => type === "order.assigned")).toHaveLength(1);
    await shop.settled();
    expect(shop.saidOf(order.orderId, "order.assigned")).toHaveLength(1);
  });

  it("repeated by its deliverer, returns the same answer", async () => {
    const order = await shop.placed("delivering");
    const first = await shop.as(order.deliverer, "orders.get", { orderId: order.orderId });
    await expect(shop.as(order.deliverer, "orders.assign", { orderId: order.orderId })).resolves.toEqual(
      first,
    );
  });

  it("of an order that is not in the pool, is NOT_FOUND", async () => {
    const order = await shop.placed("preparing");
    const asked = shop.as(deliverer(), "orders.assign", { orderId: order.orderId });
    await expect(asked).rejects.toMatchObject({ type: "NOT_FOUND", code: 404 });
    await expect(shop.as(deliverer(), "orders.assign", { orderId: newId() })).rejects.toMatchObject({
      type: "NOT_FOUND",
    });
  });

  it("returns the customer's data, which no deliverer sees before", async () => {
    const order = await shop.placed("ready");
    const who = deliverer();
    const before = shop.as(who, "orders.get", { orderId: order.orderId });
    await expect(before).rejects.toMatchObject({ type: "NOT_FOUND" });
    const after = await shop.as(who, "orders.assign", { orderId: order.orderId });
    expect(after.customer).toEqual({ id: order.customer.id, name: "Ada Byron", phone: "+41790000000" });
    for (const secret of ["pin", "trackingToken", "checkoutUrl"]) expect(after).not.toHaveProperty(secret);
  });
});

/** A quote whose partner is at this place. */
const at = (latitude: number, longitude: number) => {
  const { partner } = sampleQuote();
  return { partner: { ...partner, pickup: { ...partner.pickup, position: { latitude, longitude } } } };
};

describe("orders.available", () => {
  it("with a position, lists the nearest first with the distance; without, the longest waiting first", async () => {
    // On Tuvalu, away from the orders of the other tests.
    const far = await shop.placed("ready", at(-8.6, 179.3));
    const near = await shop.placed("ready", at(-8.521, 179.198));
    const who = deliverer();
    const { items } = await shop.as(who, "orders.available", {
      latitude: -8.52,
      longitude: 179.197,
      limit: 2,
    });
    expect(items.map(({ orderId }) => orderId)).toEqual([near.orderId, far.orderId]);
    expect(items[0]?.distanceMeters).toBeGreaterThan(140);
    expect(items[0]?.distanceMeters).toBeLessThan(170);
    expect(items[1]?.distanceMeters).toBeGreaterThan(14_000);
    expect(JSON.stringify(items)).not.toContain("Ada");
    const waiting = (await shop.as(who, "orders.available", { limit: 100 })).items;
    const since = waiting.map(({ readySince }) => readySince);
    expect(since).toEqual([...since].sort());
    expect(waiting[0]).not.toHaveProperty("distanceMeters");
    await expect(shop.as(near.customer, "orders.available", {})).rejects.toMatchObject({ type: "FORBIDDEN" });
  });
});

describe("a courier's duty", () => {
  it("begins with vehicle and position, sorts the pool by them, and its end deletes the position", async () => {
    const who = deliverer();
    expect(await shop.as(who, "orders.duty", {})).toEqual({
      ...{ id: who.id, onDuty: false, ordersAtOnce: 20, underWay: 0 },
    });
    // On Fiji, on both sides of the antimeridian.
    const [far, near] = [
      await shop.placed("ready", at(-18, 177)),
      await shop.placed("ready", at(-17, -179.99)),
    ];
    const position = { latitude: -17, longitude: 179.99 };
    const begun = await shop.as(who, "orders.setDuty", { onDuty: true, vehicle: "bicycle", position });
    expect(begun).toMatchObject({
      onDuty: true,
      vehicle: "bicycle",
      position,
      ordersAtOnce: 20,
      underWay: 0,
    });
    const { items } = await shop.as(who, "orders.available", { limit: 2 });
    expect(items.map(({ orderId }) => orderId)).toEqual([near.orderId, far.orderId]);
    expect(items[0]?.distanceMeters).toBeLessThan(2_200);
    const again = await shop.as(who, "orders.setDuty", { onDuty: true, vehicle: "car" });
    expect(again).toMatchObject({ since: begun.since, vehicle: "car", position });
    const ended = await shop.as(who, "orders.setDuty", { onDuty: false });
    expect(ended).toEqual({ id: who.id, onDuty: false, vehicle: "car", ordersAtOnce: 20, underWay: 0 });
    const kept = await shop.sql("SELECT latitude, longitude, position_at FROM couriers WHERE id = $1", [
      who.id,
    ]);
    expect(kept).toEqual([{ latitude: null, longitude: null, position_at: null }]);
    const report = shop.as(who, "orders.reportPosition", { position });
    await expect(report).rejects.toMatchObject({ type: "OFF_DUTY", code: 409 });
  });

  it("near a partner, puts the courier with room into the message of an order that enters the pool", async () => {
    const partnersPlace = { latitude: -51.7, longitude: -57.85 }; // away from the orders of the other tests
    const onDuty = async (latitude: number) => {
      const who = deliverer();
      await shop.as(who, "orders.setDuty", { onDuty: true, position: { ...partnersPlace, latitude } });
      return who;
    };
    const [second, nearest, full] = [await onDuty(-51.69), await onDuty(-51.701), await onDuty(-51.7)];
    await onDuty(-51.5);
    const offDuty = await onDuty(-51.7);
    await shop.as(offDuty, "orders.setDuty", { onDuty: false });
    await shop.as(shop.admin, "orders.setCourierCapacity", { courierId: full.id, ordersAtOnce: 1 });
    const { orderId: other } = await shop.placed("ready");
    await shop.as(full, "orders.assign", { orderId: other });
    const { orderId } = await shop.placed("ready", at(partnersPlace.latitude, partnersPlace.longitude));
    const nearby = (type: "order.ready" | "order.released") =>
      shop.saidOf(orderId, type).map(({ data }) => (data as OrderSnapshot).nearbyDelivererIds);
    await shop.settled();
    expect(nearby("order.ready")).toEqual([[nearest.id, second.id]]);
    await shop.as(nearest, "orders.assign", { orderId });
    await shop.as(nearest, "orders.release", { orderId });
    await shop.as(second, "orders.assign", { orderId });
    const passedOn = { orderId, delivererId: nearest.id, reason: "Flat tyre" };
    await shop.as(shop.admin, "orders.reassign", passedOn);
    await shop.settled();
    expect(nearby("order.released")).toEqual([[second.id], undefined]);
  });

  it("takes positions for all orders under way; the newest by the courier's clock stays", async () => {
    const [one, two, other] = [
      await shop.placed("ready"),
      await shop.placed("ready"),
      await shop.placed("delivering"),
    ];
    const who = deliverer();
    await shop.as(who, "orders.setDuty", { onDuty: true });
    for (const { orderId } of [one, two]) await shop.as(who, "orders.assign", { orderId });
    const report = (latitude: number, secondsAgo: number) =>
      shop.as(who, "orders.reportPosition", {
        position: { latitude, longitude: 7 },
        at: isoTime(Date.now() - secondsAgo * 1_000),
      });
    await report(46.2, 10);
    await report(46.1, 60);
    const stored = await shop.sql(
      "SELECT order_id, latitude FROM order_positions WHERE order_id = ANY ($1) ORDER BY order_id",
      [[one.orderId, two.orderId, other.orderId]],
    );
    expect(stored).toEqual([one, two].map(({ orderId }) => ({ order_id: orderId, latitude: 46.2 })));
    expect(await shop.as(who, "orders.duty", {})).toMatchObject({
      position: { latitude: 46.2 },
      underWay: 2,
    });
    // A report about one order counts for the duty too.
    await shop.as(who, "orders.reportLocation", {
      orderId: one.orderId,
      position: { latitude: 46.3, longitude: 7 },
    });
    expect(await shop.as(who, "orders.duty", {})).toMatchObject({ position: { latitude: 46.3 } });
    await eventually(() => {
      const seen = shop.live.filter(({ event }) => event === "order.position").map(({ data }) => data);
      for (const { orderId } of [one, two]) {
        expect(seen).toContainEqual(
          expect.objectContaining({ orderId, position: { latitude: 46.2, longitude: 7 } }),
        );
      }
    });
  });

  it("bounds the orders at once, also of concurrent assignments; an operator sets another bound", async () => {
    const who = deliverer();
    const set = { courierId: who.id, ordersAtOnce: 2 };
    expect(await shop.as(shop.admin, "orders.setCourierCapacity", set)).toMatchObject({ ordersAtOnce: 2 });
    const orders = await Promise.all(Array.from({ length: 5 }, () => shop.placed("ready")));
    const claims = await Promise.allSettled(
      orders.map(({ orderId }) => shop.as(who, "orders.assign", { orderId })),
    );
    expect(claims.filter(({ status }) => status === "fulfilled")).toHaveLength(2);
    for (const one of claims) {
      if (one.status === "rejected") expect(one.reason).toMatchObject({ type: "COURIER_FULL", code: 409 });
    }
    const [mine] = orders.filter((_, n) => claims[n]?.status === "fulfilled") as [(typeof orders)[number]];
    // A repeat is no further order.
    expect(await shop.as(who, "orders.assign", { orderId: mine.orderId })).toMatchObject({
      status: "delivering",
    });
    const { items } = await shop.as(shop.admin, "orders.couriers", { duty: "off", limit: 100 });
    expect(items).toContainEqual({
      ...{ id: who.id, onDuty: false, ordersAtOnce: 2, underWay: 2 },
      name: "Carl Courier",
    });
    const all = await shop.as(shop.admin, "orders.couriers", {});
    expect(all.items.length).toBeGreaterThan(0);
    await shop.as(shop.admin, "orders.setCourierCapacity", { courierId: who.id });
    expect(await shop.as(who, "orders.duty", {})).toMatchObject({ ordersAtOnce: 20 });
    expect(await shop.told(who.id, "audit.recorded")).toHaveLength(2);
    const stranger = newId();
    shop.strangers.add(stranger);
    const refused = shop.as(shop.admin, "orders.setCourierCapacity", { ...set, courierId: stranger });
    await expect(refused).rejects.toMatchObject({ type: "VALIDATION_ERROR" });
    await expect(shop.as(who, "orders.couriers", {})).rejects.toMatchObject({ type: "FORBIDDEN" });
  });

  it("ends with the role of the courier and after hours of silence, and the account takes the courier along", async () => {
    const [suspended, silent, deleted] = [deliverer(), deliverer(), deliverer()];
    const position = { latitude: 46, longitude: 7 };
    for (const who of [suspended, silent, deleted]) {
      await shop.as(who, "orders.setDuty", { onDuty: true, position });
    }
    const user = { email: "c@d.example", firstName: "Carl", language: "en", version: 9 };
    await shop.hear(
      "waybill/identity",
      message("user.updated", suspended.id, {
        ...user,
        userId: suspended.id,
        role: "deliverer",
        suspended: true,
      }),
    );
    await shop.hear(
      "waybill/identity",
      message("user.deleted", deleted.id, { version: 9, userId: deleted.id }),
    );
    const back = shop.as(suspended, "orders.setDuty", { onDuty: true });
    await expect(back).rejects.toMatchObject({ type: "FORBIDDEN" });
    await shop.sql("UPDATE couriers SET heard_at = now() - interval '5 hours' WHERE id = $1", [silent.id]);
    await eventually(async () => {
      const left = await shop.sql(
        "SELECT id, on_duty_since IS NULL AND latitude IS NULL AS off FROM couriers WHERE id = ANY ($1)",
        [[suspended.id, silent.id, deleted.id]],
      );
      expect(left).toHaveLength(2);
      for (const one of left) expect(one).toMatchObject({ off: true });
    });
  });
});

describe("orders.pickUp", () => {
  it("with the number or the pickup code, is one move in the history, and a repeat changes nothing", async () => {
    const [byNumber, byCode] = [await shop.placed("delivering"), await shop.placed("delivering")];
    const { number = "" } = byNumber.confirmation;
    const staff = staffOf(byCode);
    const { pickupCode = "" } = await shop.as(staff, "orders.get", { orderId: byCode.orderId });
    expect(pickupCode).toMatch(/^[A-Z2-9]{8}$/);
    for (const [order, code] of [
      [byNumber, number.toLowerCase()],
      [byCode, pickupCode],
    ] as const) {
      const { orderId } = order;
      const wrong = shop.as(order.deliverer, "orders.pickUp", { orderId, code: "Z9-999" });
      await expect(wrong).rejects.toMatchObject({ type: "WRONG_PICKUP_CODE", code: 422 });
      const taken = await shop.as(order.deliverer, "orders.pickUp", { orderId, code });
      expect(taken).toMatchObject({ status: "delivering", pickedUpAt: expect.any(String) });
      expect(taken).not.toHaveProperty("pickupCode");
      expect(await shop.as(order.deliverer, "orders.pickUp", { orderId, code })).toEqual(taken);
      expect(await shop.as(order.deliverer, "orders.assign", { orderId })).toEqual(taken);
      expect((await shop.steps(orderId)).slice(-2)).toEqual(["order.assigned", "order.picked_up"]);
      const [told, ...more] = await shop.told(orderId, "order.picked_up");
      expect(more).toEqual([]);
      expect(told?.data).toMatchObject({
        status: "delivering",
        pickedUpAt: taken.pickedUpAt,
        actor: order.deliverer.id,
      });
      expect(shop.live).toContainEqual({ event: "order.moved", data: { orderId, version: taken.version } });
    }
    const own = await shop.get(byCode);
    expect(own).not.toHaveProperty("pickupCode");
    expect(await shop.as(shop.admin, "orders.get", { orderId: byCode.orderId })).toMatchObject({
      pickupCode,
    });
  });

  it("of another's order, or of one that is not delivered now, is refused; the next deliverer picks up again", async () => {
    const order = await shop.placed("delivering");
    const { orderId } = order;
    const { number: code = "" } = order.confirmation;
    const other = deliverer();
    const foreign = shop.as(other, "orders.pickUp", { orderId, code });
    await expect(foreign).rejects.toMatchObject({ type: "NOT_FOUND" });
    await shop.as(order.deliverer, "orders.pickUp", { orderId, code });
    expect(await shop.as(order.deliverer, "orders.release", { orderId })).not.toHaveProperty("pickedUpAt");
    await expect(shop.as(order.deliverer, "orders.pickUp", { orderId, code })).rejects.toMatchObject({
      code: 404,
    });
    expect(await shop.as(other, "orders.assign", { orderId })).not.toHaveProperty("pickedUpAt");
    await shop.as(other, "orders.pickUp", { orderId, code });
    await shop.as(other, "orders.fail", { orderId, reason: "Nobody there" });
    const late = shop.as(other, "orders.pickUp", { orderId, code });
    await expect(late).rejects.toMatchObject({ type: "ILLEGAL_TRANSITION", code: 409 });
  });
});

describe("a deliverer's position near the partner or the customer", () => {
  it("makes one message for each place, that of the customer only after the pickup", async () => {
    // About 155 m and 1.5 km from each other.
    const [pickup, home] = [at(10.001, 20), { latitude: 10.015, longitude: 20 }];
    const address = { ...sampleQuote().address, position: home };
    const order = await shop.placed("delivering", { ...pickup, address });
    const { orderId, deliverer: who } = order;
    const report = (latitude: number) =>
      shop.as(who, "orders.reportLocation", { orderId, position: { latitude, longitude: 20 } });
    const near = async () => (await shop.told(orderId, "courier.near")).map(({ data }) => data);
    await report(10.1);
    await report(home.latitude);
    expect(await near()).toEqual([]);
    await Promise.all([report(10), report(10), report(10.0005)]);
    await report(10.1);
    await report(10.001);
    const [first, ...more] = await near();
    expect(more).toEqual([]);
    expect(first).toMatchObject({
      ...{ orderId, place: "pickup", delivererId: who.id, number: order.confirmation.number },
      ...{ customer: { id: order.customer.id }, partnerId: order.quote.partner.id },
    });
    await shop.as(who, "orders.pickUp", { orderId, code: order.confirmation.number ?? "" });
    await report(10.001);
    expect(await near()).toHaveLength(1);
    await Promise.all([report(home.latitude), report(home.latitude)]);
    expect((await near()).slice(1)).toMatchObject([{ place: "destination", distanceMeters: 0 }]);
  });
});

describe("orders.available with half a position", () => {
  it.each([{ latitude: 46.95 }, { longitude: 7.44 }])("as %p, lists as without one", async (half) => {
    await shop.placed("ready");
    const without = await shop.as(deliverer(), "orders.available", {});
    expect(await shop.as(deliverer(), "orders.available", half)).toEqual(without);
    expect(without.items[0]).not.toHaveProperty("distanceMeters");
  });
});

describe("orders.release and orders.fail", () => {
  it("orders.release returns the order to the pool, where it can be assigned to another deliverer", async () => {
    const order = await shop.placed("delivering");
    const { orderId } = order;
    const freed = await shop.as(order.deliverer, "orders.release", { orderId, reason: "Flat tyre" });
    expect(freed).toMatchObject({ status: "ready", reason: "Flat tyre" });
    expect(freed).not.toHaveProperty("delivererId");
    await expect(shop.as(order.deliverer, "orders.release", { orderId })).resolves.toEqual(freed);
    await expect(shop.as(deliverer(), "orders.assign", { orderId })).resolves.toMatchObject({
      status: "delivering",
    });
    await expect(shop.as(order.deliverer, "orders.release", { orderId })).rejects.toMatchObject({
      type: "NOT_FOUND",
    });
  });

  it("orders.fail ends the delivery, until an operator assigns it again", async () => {
    const order = await shop.placed("delivering");
    const { orderId } = order;
    const failed = await shop.as(order.deliverer, "orders.fail", { orderId, reason: "Nobody there" });
    expect(failed).toMatchObject({ status: "failed", reason: "Nobody there" });
    await expect(
      shop.as(order.deliverer, "orders.fail", { orderId, reason: "Nobody there" }),
    ).resolves.toEqual(failed);
    await expect(shop.as(order.deliverer, "orders.assign", { orderId })).rejects.toMatchObject({
      type: "NOT_FOUND",
    });
    const [other, customer] = [newId(), newId()];
    shop.strangers.add(customer);
    await expect(
      shop.as(shop.admin, "orders.reassign", { orderId, delivererId: customer, reason: "Who is that" }),
    ).rejects.toMatchObject({ type: "VALIDATION_ERROR", data: { errors: [{ field: "delivererId" }] } });
    const back = await shop.as(shop.admin, "orders.reassign", {
      orderId,
      delivererId: other,
      reason: "Second try",
    });
    expect(back).toMatchObject({ status: "delivering", delivererId: other });
    expect((await shop.steps(orderId)).slice(-3)).toEqual([
      "order.failed",
      "order.released",
      "order.assigned",
    ]);
  });
});

describe("orders.reassign by the name of a courier", () => {
  it("assigns a ready order or one under way to the one courier who is meant, also beyond the orders at once", async () => {
    const [bert, berta] = [deliverer(), deliverer()];
    for (const [{ id }, firstName] of [
      [bert, "Bert"],
      [berta, "Berta"],
    ] as const) {
      shop.named.push({
        ...{
          id,
          firstName,
          lastName: "Kurz",
          email: `${id}@couriers.example`,
          language: "en",
          role: "deliverer",
        },
        ...{ state: "active", emailConfirmed: true, version: 1, createdAt: isoTime(Date.now()) },
      });
    }
    await shop.as(shop.admin, "orders.setCourierCapacity", { courierId: berta.id, ordersAtOnce: 1 });
    await shop.as(berta, "orders.assign", { orderId: (await shop.placed("ready")).orderId });
    const reassign = (orderId: string, more: object) =>
      shop.as(shop.admin, "orders.reassign", { orderId, reason: "Nearer", ...more });
    for (const state of ["ready", "delivering"] as const) {
      const { orderId } = await shop.placed(state);
      const given = await reassign(orderId, { courier: "berta" });
      expect(given).toMatchObject({ status: "delivering", delivererId: berta.id });
      for (const [more, rule] of [
        [{ courier: "Bert" }, "ambiguous"],
        [{ courier: "Nobody" }, "unknown"],
        [{ courier: "berta", delivererId: bert.id }, "exclusive"],
      ] as const) {
        await expect(reassign(orderId, more)).rejects.toMatchObject({
          ...{ type: "VALIDATION_ERROR", data: { errors: [{ field: "courier", rule }] } },
        });
      }
      const steps = await shop.steps(orderId);
      expect(steps.slice(-2)).toEqual([
        `order.${state === "ready" ? "ready" : "released"}`,
        "order.assigned",
      ]);
    }
  });
});

describe("compatibility with version 0.1", () => {
  const key = () => ({ key: newId(), bodyHash: "d".repeat(64) });

  it("orders.claim and orders.unclaim answer as orders.assign and orders.release", async () => {
    const { orderId } = await shop.placed("ready");
    const who = deliverer();
    const assigned = await shop.as(who, "orders.claim", { orderId });
    expect(assigned).toMatchObject({ status: "delivering", delivererId: who.id });
    await expect(shop.as(who, "orders.assign", { orderId })).resolves.toEqual(assigned);
    const released = await shop.as(who, "orders.unclaim", { orderId });
    expect(released).toMatchObject({ status: "ready" });
    await expect(shop.as(who, "orders.release", { orderId })).resolves.toEqual(released);
  });

  it("orders.assign and orders.release answer from the Idempotency-Keys of orders.claim and orders.unclaim", async () => {
    const { orderId } = await shop.placed("ready");
    const who = deliverer();
    const [assignKey, releaseKey] = [key(), key()];
    const order = await shop.as(shop.admin, "orders.get", { orderId });
    const stored = [
      { ...assignKey, scope: "orders.claim", answer: { value: { ...order, reason: "assigned" } } },
      { ...releaseKey, scope: "orders.unclaim", answer: { value: { ...order, reason: "released" } } },
    ];
    for (const { scope, key, bodyHash, answer } of stored) {
      await shop.sql(
        "INSERT INTO idempotency_keys (user_id, scope, key, body_hash, answer) VALUES ($1, $2, $3, $4, $5)",
        [who.id, scope, key, bodyHash, answer],
      );
    }
    const assigned = await shop.as(who, "orders.assign", { orderId }, assignKey);
    expect(assigned).toMatchObject({ id: orderId, reason: "assigned" });
    const released = await shop.as(who, "orders.release", { orderId }, releaseKey);
    expect(released).toMatchObject({ id: orderId, reason: "released" });
    expect((await shop.steps(orderId)).at(-1)).toBe("order.ready");
  });

  it("orders.fail of an order whose stored move is giveUp answers the same again", async () => {
    const order = await shop.placed("delivering");
    const { orderId } = order;
    const failed = await shop.as(order.deliverer, "orders.fail", { orderId, reason: "Flood" });
    await shop.sql("UPDATE orders SET last_move = 'giveUp' WHERE id = $1 AND last_move = 'fail'", [orderId]);
    await expect(shop.as(order.deliverer, "orders.fail", { orderId, reason: "Flood" })).resolves.toEqual(
      failed,
    );
    await shop.sql("UPDATE orders SET last_move = 'deliver' WHERE id = $1", [orderId]);
    await expect(shop.as(order.deliverer, "orders.fail", { orderId, reason: "Flood" })).rejects.toMatchObject(
      { type: "ILLEGAL_TRANSITION" },
    );
  });
});

describe("orders.reportLocation", () => {
  it("stores the last position, publishes it to watchers, and shows it on the tracking page", async () => {
    const order = await shop.placed("delivering");
    const position = { latitude: 46.95, longitude: 7.44 };
    const { orderId } = order;
    await shop.as(order.deliverer, "orders.reportLocation", {
      orderId,
      position: { latitude: 0, longitude: 0 },
    });
    await shop.as(order.deliverer, "orders.reportLocation", { orderId, position });
    await eventually(() =>
      expect(shop.live).toContainEqual({
        event: "order.position",
        data: { orderId, position, at: expect.stringMatching(/Z$/) },
      }),
    );
    const token = (await shop.get(order)).trackingToken as string;
    const tracked = await shop.bare("orders.track", { token });
    expect(tracked).toEqual({
      status: "delivering",
      partnerTitle: "Bäckerei Aare",
      firstName: "Ada",
      position,
      positionAt: expect.any(String),
      updatedAt: expect.any(String),
    });
  });

  it("with an older position, changes nothing; times of different deliverers are not compared", async () => {
    const order = await shop.placed("delivering");
    const { orderId } = order;
    const report = (latitude: number, secondsAgo: number, who: object = order.deliverer) =>
      shop.as(who, "orders.reportLocation", {
        orderId,
        position: { latitude, longitude: 7 },
        at: new Date(Date.now() - secondsAgo * 1_000).toISOString(),
      });
    const token = (await shop.get(order)).trackingToken as string;
    const shown = async () => (await shop.bare("orders.track", { token })).position?.latitude;
    await report(1, 60);
    await report(2, 30);
    await report(3, 45);
    expect(await shown()).toBe(2);
    await eventually(() =>
      expect(shop.live).toContainEqual(expect.objectContaining({ event: "order.position" })),
    );
    const told = shop.live.filter(({ data }) => (data as { orderId: string }).orderId === orderId);
    expect(
      told.map(({ data }) => (data as { position?: { latitude: number } }).position?.latitude),
    ).not.toContain(3);
    // A clock that is ahead counts as now, so what follows is not older.
    await report(4, -3_600);
    await report(5, -3_500);
    expect(await shown()).toBe(5);
    const other = { id: newId(), role: "deliverer" } as const;
    await shop.as(shop.admin, "orders.reassign", { orderId, delivererId: other.id, reason: "flat tyre" });
    await report(6, 600, other);
    expect(await shown()).toBe(6);
  });

  it.each(["2026-03-01T10:61:00Z", "9999-12-31T23:59:59-01:00"])(
    "at %s, which is no moment, is refused",
    async (time) => {
      const order = await shop.placed("delivering");
      const position = { latitude: 1, longitude: 1 };
      const report = shop.as(order.deliverer, "orders.reportLocation", {
        orderId: order.orderId,
        position,
        at: time,
      });
      await expect(report).rejects.toMatchObject({ type: "VALIDATION_ERROR" });
    },
  );

  it("of an order that is not being delivered, or is not the caller's, is refused", async () => {
    const order = await shop.placed("delivering");
    const { orderId } = order;
    const report = (who: object) =>
      shop.as(who, "orders.reportLocation", { orderId, position: { latitude: 1, longitude: 1 } });
    await expect(report(deliverer())).rejects.toMatchObject({ type: "NOT_FOUND" });
    await shop.as(order.deliverer, "orders.fail", { orderId, reason: "Flood" });
    await expect(report(order.deliverer)).rejects.toMatchObject({ type: "ILLEGAL_TRANSITION" });
  });
});

describe("the event log", () => {
  it("has each move of an order once, with the changes of the pool", async () => {
    const after = await logPosition(shop);
    const order = await shop.placed("ready");
    const { orderId } = order;
    const who = deliverer();
    await poolChanges(shop, orderId, after, "order.ready");
    const [appeared] = (await entriesOf(shop, orderId, after)).filter(({ pool }) => pool);
    expect(appeared?.shown).toMatchObject({ orderId, fee: { amountMinor: 450, currency: "EUR" } });
    await shop.as(who, "orders.assign", { orderId });
    await shop.settled();
    await shop.as(who, "orders.release", { orderId, reason: "flat tyre" });
    await shop.settled();
    await shop.as(who, "orders.assign", { orderId });
    const entries = await poolChanges(shop, orderId, after, "order.assigned");
    await eventually(async () => expect(await entriesOf(shop, orderId, after)).toHaveLength(7));
    const last = await entriesOf(shop, orderId, after);
    const byVersion = last.toSorted((one, other) => (one.move?.version ?? 0) - (other.move?.version ?? 0));
    expect(byVersion.map(({ move, pool }) => [move?.version, move?.type, pool])).toEqual([
      [1, "order.created", undefined],
      [2, "order.paid", undefined],
      [3, "order.accepted", undefined],
      [4, "order.ready", "appeared"],
      [5, "order.assigned", "vanished"],
      [6, "order.released", "appeared"],
      [7, "order.assigned", "vanished"],
    ]);
    expect(entries.find(({ type }) => type === "order.released")).toMatchObject({
      formerDelivererId: who.id,
    });
    // An order that is no longer in the pool is not shown to couriers who resume.
    expect(last.filter(({ shown }) => shown)).toEqual([]);
    expect(JSON.stringify(last)).not.toMatch(/Ada|\+4179/);
    const { items } = await shop.bare("orders.events", {
      ...{ after, limit: 500, partnerId: order.quote.partner.id },
    });
    expect(items.every(({ move }) => move?.partnerId === order.quote.partner.id)).toBe(true);
  });

  it("contains a message that arrives again once, and an alert once within an hour", async () => {
    const after = await logPosition(shop);
    const order = await shop.placed("paid");
    await shop.settled();
    const [paid] = shop.saidOf(order.orderId, "order.paid");
    const again = { ...paid, id: newId() } as Message<"order.paid">;
    const log = eventLog({ ...logDeps(), offersOrders: false });
    await Promise.all([log.append(paid as Message<"order.paid">), log.append(again), log.append(again)]);
    const types = (await entriesOf(shop, order.orderId, after)).map(({ move }) => move?.type);
    expect(types.toSorted()).toEqual(["order.created", "order.paid", "order.paid"]);
    const subject = newId();
    for (let count = 0; count < 3; count++)
      await shop.hear("waybill/partners", alert("order.not_ready", "Late.", { subject }));
    const { items } = await shop.bare("orders.events", { after, limit: 500 });
    expect(items.flatMap(({ alert }) => (alert?.subject === subject ? [alert] : []))).toMatchObject([
      { kind: "order.not_ready", detail: "Late." },
    ]);
  });

  it("with moves that arrive in the wrong order, ends with the present state of the pool", async () => {
    const after = await logPosition(shop);
    const { orderId, quote } = await shop.placed("paid");
    await shop.settled();
    const [paid] = shop.saidOf(orderId, "order.paid") as [Message<"order.paid">];
    // The order is ready now, though no message about that has been logged.
    await shop.sql("UPDATE orders SET status = 'ready', ready_since = now() WHERE id = $1", [orderId]);
    const log = eventLog({ ...logDeps(), offersOrders: false });
    const logged = (
      type: "order.ready" | "order.assigned" | "order.delayed",
      version: number,
      data: object,
    ) =>
      log.append({ ...paid, id: newId(), type, data: { ...paid.data, version, ...data } } as Message<
        typeof type
      >);
    await logged("order.ready", 4, { status: "ready", previousStatus: "preparing" });
    await shop.sql(
      "UPDATE orders SET status = 'delivering', deliverer_id = gen_random_uuid() WHERE id = $1",
      [orderId],
    );
    await logged("order.assigned", 6, { status: "delivering", previousStatus: "ready" });
    await logged("order.delayed", 5, { status: "ready", previousStatus: "ready" });
    await logged("order.delayed", 3, { status: "preparing", previousStatus: "preparing" });
    const entries = await entriesOf(shop, orderId, after);
    expect(entries.slice(2).map(({ move, pool }) => [move?.version, pool])).toEqual([
      [4, "appeared"],
      [6, "vanished"],
      [5, undefined],
      [3, undefined],
    ]);
    expect(quote.partner.id).toBe(entries[0]?.move?.partnerId);
  });

  it("written by several processes at once, is read from any place without a gap", async () => {
    const after = await logPosition(shop);
    const { orderId } = await shop.placed("paid");
    await shop.settled();
    const [paid] = shop.saidOf(orderId, "order.paid") as [Message<"order.paid">];
    const logs = Array.from({ length: 3 }, () => eventLog({ ...logDeps(), offersOrders: false }));
    let isOver = false;
    const writing = Promise.all(
      logs.map(async (log) => {
        for (let count = 0; count < 40; count++) await log.append({ ...paid, id: newId() });
      }),
    ).finally(() => {
      isOver = true;
    });
    const read: number[] = [];
    for (let place = after, more = true; more; ) {
      more = !isOver;
      const { items } = await shop.bare("orders.events", { after: place, limit: 500 });
      read.push(...items.map(({ id }) => id));
      place = read.at(-1) ?? place;
    }
    await writing;
    const { items } = await shop.bare("orders.events", { after, limit: 500 });
    expect(items.length).toBeGreaterThanOrEqual(122);
    expect(read).toEqual(items.map(({ id }) => id));
  });

  it("contains the beginning and the end of a duty, and a new vehicle, and no repeat", async () => {
    const who = deliverer();
    const after = await logPosition(shop);
    await shop.as(who, "orders.setDuty", { onDuty: true, vehicle: "bicycle" });
    await shop.as(who, "orders.setDuty", { onDuty: true });
    await shop.as(who, "orders.setDuty", { onDuty: true, vehicle: "car" });
    await shop.as(who, "orders.setDuty", { onDuty: false });
    await shop.as(who, "orders.setDuty", { onDuty: false });
    await shop.as(who, "orders.setDuty", { onDuty: true });
    const version = 2;
    const gone = { version, userId: who.id, email: "c@example.org", firstName: "C", language: "en" } as const;
    await shop.hear("waybill/identity", message("user.updated", who.id, { ...gone, role: "customer" }));
    await eventually(async () => {
      const { items } = await shop.bare("orders.events", { after, limit: 500 });
      const duties = items.flatMap(({ duty }) => (duty?.courierId === who.id ? [duty] : []));
      expect(duties.map(({ onDuty, vehicle }) => `${onDuty} ${vehicle}`).toSorted()).toEqual([
        ...["false car", "false car", "true bicycle", "true car", "true car"],
      ]);
    });
  });

  it("knows whether it has all entries after a place, also after it was pruned", async () => {
    await shop.settled();
    const [{ first, last } = { first: 0, last: 0 }] = await shop.sql<{ first: number; last: number }>(
      "SELECT min(id)::float8 AS first, max(id)::float8 AS last FROM event_log",
    );
    const known = async (after: number) => (await shop.bare("orders.events", { after, limit: 1 })).isKnown;
    expect(await Promise.all([first, last, first + 1, last + 1, 0].map(known))).toEqual([
      ...[true, true, false, false, false],
    ]);
    const { db } = logDeps().postgres;
    expect(await pruneLog(db, Date.now() + 60_000, 10_000)).toBeGreaterThan(5);
    expect(await pruneLog(db, Date.now() + 60_000, 10_000)).toBe(0);
    const { position } = await shop.bare("orders.events", { limit: 1 });
    expect(await Promise.all([first, position].map(known))).toEqual([false, true]);
  });
});
