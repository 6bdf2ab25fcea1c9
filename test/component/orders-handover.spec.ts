import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import { deliverer, sampleQuote } from "../support/orders.ts";
import { type OrdersHarness, startOrders } from "../support/orders-service.ts";

let shop: OrdersHarness;
beforeAll(async () => {
  shop = await startOrders();
});
afterAll(() => shop.stop());

const pinOf = async (order: Parameters<OrdersHarness["get"]>[0]) => (await shop.get(order)).pin as string;
const wrong = (pin: string) => String((Number(pin) + 1) % 10_000).padStart(4, "0");

describe("orders.deliver", () => {
  it("with the customer's PIN, ends the order; a repeat returns the same answer", async () => {
    const order = await shop.placed("delivering");
    const pin = await pinOf(order);
    const done = await shop.as(order.deliverer, "orders.deliver", { orderId: order.orderId, pin });
    expect(done).toMatchObject({ status: "delivered", delivererId: order.deliverer.id });
    expect(done).not.toHaveProperty("deadlineAt");
    await expect(
      shop.as(order.deliverer, "orders.deliver", { orderId: order.orderId, pin }),
    ).resolves.toEqual(done);
    expect(await shop.steps(order.orderId)).toEqual([
      "order.created",
      "order.paid",
      "order.accepted",
      "order.ready",
      "order.assigned",
      "order.delivered",
    ]);
  });

  it("with wrong PINs, counts each and locks at the fifth, also for the right PIN", async () => {
    const order = await shop.placed("delivering");
    const pin = await pinOf(order);
    const deliver = (given: string) =>
      shop.as(order.deliverer, "orders.deliver", { orderId: order.orderId, pin: given });
    for (const triesLeft of [4, 3, 2, 1]) {
      await expect(deliver(wrong(pin))).rejects.toMatchObject({
        type: "WRONG_PIN",
        code: 422,
        data: { triesLeft },
      });
    }
    await expect(deliver(wrong(pin))).rejects.toMatchObject({ type: "HANDOVER_LOCKED", code: 409 });
    await expect(deliver(pin)).rejects.toMatchObject({ type: "HANDOVER_LOCKED" });
    await eventually(() =>
      expect(shop.saidOf(order.orderId, "alert.raised")).toMatchObject([
        { data: { kind: "handover.locked" } },
      ]),
    );
    const again = { orderId: order.orderId, delivererId: newId(), reason: "Locked" };
    await shop.as(shop.admin, "orders.reassign", again);
    const next = { id: again.delivererId, role: "deliverer" } as const;
    await expect(shop.as(next, "orders.deliver", { orderId: order.orderId, pin })).resolves.toMatchObject({
      status: "delivered",
    });
  });

  it("with wrong PINs, keeps the count over release and assignment, until an operator resets it", async () => {
    const order = await shop.placed("delivering");
    const { orderId } = order;
    const pin = await pinOf(order);
    const other = deliverer();
    const guess = () => shop.as(order.deliverer, "orders.deliver", { orderId, pin: wrong(pin) });
    const inPool = async () =>
      (await shop.as(other, "orders.available", { limit: 100 })).items.map((one) => one.orderId);
    for (const triesLeft of [4, 3, 2, 1])
      await expect(guess()).rejects.toMatchObject({ data: { triesLeft } });
    await shop.as(order.deliverer, "orders.release", { orderId });
    expect(await inPool()).toContain(orderId);
    await shop.as(order.deliverer, "orders.assign", { orderId });
    await expect(guess()).rejects.toMatchObject({ type: "HANDOVER_LOCKED", data: { triesLeft: 0 } });
    await eventually(() =>
      expect(shop.saidOf(orderId, "alert.raised")).toMatchObject([{ data: { kind: "handover.locked" } }]),
    );
    // A deliverer is neither offered nor assigned an order that they could not hand over.
    const freed = await shop.as(order.deliverer, "orders.release", { orderId });
    expect(await inPool()).not.toContain(orderId);
    for (const who of [order.deliverer, other]) {
      const taken = shop.as(who, "orders.assign", { orderId });
      await expect(taken).rejects.toMatchObject({ type: "HANDOVER_LOCKED", code: 409 });
    }
    expect(await shop.get(order)).toMatchObject({ status: "ready", version: freed.version });
    await shop.as(shop.admin, "orders.reassign", { orderId, delivererId: other.id, reason: "Locked" });
    await expect(shop.as(other, "orders.deliver", { orderId, pin: wrong(pin) })).rejects.toMatchObject({
      data: { triesLeft: 4 },
    });
    await expect(shop.as(other, "orders.deliver", { orderId, pin })).resolves.toMatchObject({
      status: "delivered",
    });
  });

  it("locked, is unlocked for the next deliverer when an operator releases the order into the pool", async () => {
    const acts = [
      (orderId: string) => shop.as(shop.admin, "orders.reassign", { orderId, reason: "Locked" }),
      (orderId: string) => shop.as(shop.admin, "orders.override", { orderId, to: "ready", reason: "Locked" }),
    ];
    for (const act of acts) {
      const order = await shop.placed("delivering");
      const { orderId } = order;
      const pin = await pinOf(order);
      for (let tries = 0; tries < 5; tries++) {
        const guess = shop.as(order.deliverer, "orders.deliver", { orderId, pin: wrong(pin) });
        await expect(guess).rejects.toMatchObject({ code: expect.any(Number) });
      }
      await act(orderId);
      const other = deliverer();
      await shop.as(other, "orders.assign", { orderId });
      await expect(shop.as(other, "orders.deliver", { orderId, pin })).resolves.toMatchObject({
        status: "delivered",
      });
    }
  });

  it("locked, is unlocked for the same deliverer when an operator reassigns the order", async () => {
    const order = await shop.placed("delivering");
    const { orderId } = order;
    const pin = await pinOf(order);
    const deliver = (given: string) => shop.as(order.deliverer, "orders.deliver", { orderId, pin: given });
    for (let tries = 0; tries < 5; tries++) {
      await expect(deliver(wrong(pin))).rejects.toMatchObject({ code: expect.any(Number) });
    }
    const again = { orderId, delivererId: order.deliverer.id, reason: "The customer misread it" };
    const assigned = await shop.as(shop.admin, "orders.reassign", again);
    await expect(shop.as(shop.admin, "orders.reassign", again)).resolves.toEqual(assigned);
    await expect(deliver(pin)).resolves.toMatchObject({ status: "delivered" });
  });

  it("with a hundred guesses, twenty at once, accepts at most five", async () => {
    const order = await shop.placed("delivering");
    const pin = Number(await pinOf(order));
    const refused: string[] = [];
    for (let round = 0; round < 5; round++) {
      const guesses = Array.from({ length: 20 }, (_, index) => (pin + 1 + round * 20 + index) % 10_000);
      const answers = await Promise.allSettled(
        guesses.map((guess) => {
          const given = { orderId: order.orderId, pin: String(guess).padStart(4, "0") };
          return shop.as(order.deliverer, "orders.deliver", given);
        }),
      );
      refused.push(...answers.map((one) => (one as PromiseRejectedResult).reason.type));
    }
    expect(refused.filter((type) => type === "WRONG_PIN")).toHaveLength(4);
    expect(refused.filter((type) => type === "HANDOVER_LOCKED")).toHaveLength(96);
  });

  it("if the partner requires a photo, is refused without one and stores the given one", async () => {
    const { partner } = sampleQuote();
    const order = await shop.placed("delivering", { partner: { ...partner, proof: "pin_and_photo" } });
    const pin = await pinOf(order);
    const deliver = (more: { photoId?: string }) =>
      shop.as(order.deliverer, "orders.deliver", { orderId: order.orderId, pin, ...more });
    await expect(deliver({})).rejects.toMatchObject({ type: "PROOF_REQUIRED", code: 422 });
    await expect(deliver({ photoId: "of-another-order" })).rejects.toMatchObject({
      type: "VALIDATION_ERROR",
      data: { errors: [{ field: "photoId" }] },
    });
    await expect(deliver({ photoId: "out-of-order" })).rejects.toMatchObject({ type: "SERVICE_UNAVAILABLE" });
    await expect(deliver({ photoId: "photo-1" })).resolves.toMatchObject({
      status: "delivered",
      proofPhotoId: "photo-1",
    });
  });

  it("by a caller who is not its deliverer, is NOT_FOUND, with a right or a wrong PIN", async () => {
    const order = await shop.placed("delivering");
    const pin = await pinOf(order);
    for (const given of [pin, wrong(pin)]) {
      const asked = shop.as(deliverer(), "orders.deliver", { orderId: order.orderId, pin: given });
      await expect(asked).rejects.toMatchObject({ type: "NOT_FOUND" });
    }
    const [row] = await shop.sql("SELECT handover_failures FROM orders WHERE id = $1", [order.orderId]);
    expect(row).toEqual({ handover_failures: 0 });
  });
});
