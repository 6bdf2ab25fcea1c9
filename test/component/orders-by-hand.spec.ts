import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { isoTime } from "../../lib/clock.ts";
import { newId } from "../../lib/ids.ts";
import { sampleQuote, staffOf } from "../support/orders.ts";
import { type OrdersHarness, startOrders } from "../support/orders-service.ts";

const MINUTE_MS = 60_000;
/** The clocks of this process and of its database may differ by this. */
const CLOCKS_MS = 5_000;
const RACES = 8;

let shop: OrdersHarness;
beforeAll(async () => {
  shop = await startOrders();
});
afterAll(() => shop.stop());

const stepsOf = (orderId: string) =>
  shop.sql<{ type: string; actor: string; reason: string | null }>(
    "SELECT type, actor, reason FROM order_transitions WHERE order_id = $1 ORDER BY version",
    [orderId],
  );
const minutesAway = (time: string | undefined) => (Date.parse(time ?? "") - Date.now()) / MINUTE_MS;

describe("an order, by hand of its partner's staff,", () => {
  it("is accepted with a promised time, delayed and ready; the history names them", async () => {
    const order = await shop.placed("paid");
    const { orderId } = order;
    const staff = staffOf(order);
    const accepted = await shop.as(staff, "orders.accept", { orderId, readyInMinutes: 25 });
    expect(accepted.status).toBe("preparing");
    expect(minutesAway(accepted.readyAt)).toBeGreaterThan(25 - CLOCKS_MS / MINUTE_MS - 1);
    expect(minutesAway(accepted.readyAt)).toBeLessThan(25 + CLOCKS_MS / MINUTE_MS);
    expect(accepted).not.toHaveProperty("checkoutUrl");
    expect(accepted).not.toHaveProperty("pin");
    const readyAt = isoTime(Date.now() + 50 * MINUTE_MS);
    const delayed = await shop.as(staff, "orders.delay", { orderId, readyAt, reason: "A full oven." });
    expect(delayed).toMatchObject({ status: "preparing", readyAt });
    expect(await shop.as(staff, "orders.makeReady", { orderId })).toMatchObject({ status: "ready" });
    expect((await stepsOf(orderId)).slice(2)).toEqual([
      { type: "order.accepted", actor: staff.id, reason: null },
      { type: "order.delayed", actor: staff.id, reason: "A full oven." },
      { type: "order.ready", actor: staff.id, reason: null },
    ]);
  });

  it("is accepted without a time after the usual preparation time, and ready without having been accepted", async () => {
    const order = await shop.placed("paid");
    const accepted = await shop.as(staffOf(order), "orders.accept", { orderId: order.orderId });
    expect(minutesAway(accepted.readyAt)).toBeGreaterThan(18);
    expect(minutesAway(accepted.readyAt)).toBeLessThan(21);
    const other = await shop.placed("paid");
    const ready = await shop.as(staffOf(other), "orders.makeReady", { orderId: other.orderId });
    expect(ready.status).toBe("ready");
    const third = await shop.placed("paid");
    const promised = { orderId: third.orderId, readyInMinutes: 40 };
    expect(await shop.as(staffOf(third), "orders.delay", promised)).toMatchObject({ status: "preparing" });
  });

  it("is moved once by a repeat, with and without a key, and by the same report of the partner's system", async () => {
    const order = await shop.placed("paid");
    const { orderId } = order;
    const staff = staffOf(order);
    const key = { key: newId(), bodyHash: "c".repeat(64) };
    const accept = (params = {}) => shop.as(staff, "orders.accept", { orderId, ...params });
    const first = await shop.as(staff, "orders.accept", { orderId, readyInMinutes: 10 }, key);
    await shop.say(order, "order.accepted", { readyAt: isoTime(Date.now() + 30 * MINUTE_MS) });
    expect(await shop.as(staff, "orders.accept", { orderId, readyInMinutes: 10 }, key)).toEqual(first);
    expect(await accept({ readyInMinutes: 20 })).toEqual(first);
    await shop.say(order, "order.ready");
    const ready = await shop.as(staff, "orders.makeReady", { orderId });
    expect(await shop.as(staff, "orders.makeReady", { orderId })).toEqual(ready);
    expect(await accept()).toEqual(ready);
    expect((await shop.steps(orderId)).slice(2)).toEqual(["order.accepted", "order.ready"]);
    const steps = await stepsOf(orderId);
    const system = `partner:${order.quote.partner.id}`;
    expect(steps.slice(2).map(({ actor }) => actor)).toEqual([staff.id, system]);
  });

  it(`and by its system at once, accepted and rejected, is one of the two, in each of ${RACES} races`, async () => {
    for (let race = 0; race < RACES; race++) {
      const order = await shop.placed("paid");
      const { orderId } = order;
      const staff = staffOf(order);
      const answers = await Promise.allSettled([
        shop.as(staff, "orders.accept", { orderId, readyInMinutes: 10 }),
        shop.say(order, "order.accepted"),
        shop.as(shop.admin, "orders.accept", { orderId, readyInMinutes: 15 }),
        shop.as(staff, "orders.makeReady", { orderId }),
        shop.say(order, "order.ready"),
      ]);
      // Each of the five is one of two moves, the first makes it, and the others of the same find it made.
      expect(answers.filter(({ status }) => status === "rejected")).toEqual([]);
      const steps = (await shop.steps(orderId)).slice(2);
      expect(steps.filter((type) => type === "order.ready")).toHaveLength(1);
      expect(steps.filter((type) => type === "order.accepted").length).toBeLessThanOrEqual(1);
      expect(steps.at(-1)).toBe("order.ready");
    }
    for (let race = 0; race < RACES; race++) {
      const order = await shop.placed("paid");
      const { orderId } = order;
      const [rejected, ready] = await Promise.allSettled([
        shop.as(staffOf(order), "orders.reject", { orderId, reason: "too_busy" }),
        shop.say(order, "order.ready"),
      ]);
      const winners = [rejected, ready].filter(({ status }) => status === "fulfilled");
      expect(winners).toHaveLength(1);
      const { status } = await shop.get(order);
      expect(status).toBe(rejected.status === "fulfilled" ? "cancelled" : "ready");
    }
  });

  it("is rejected with a reason, a text and the products that are out, refunded, and notified with these", async () => {
    const order = await shop.placed("paid");
    const { orderId, quote } = order;
    const staff = staffOf(order);
    const [bread] = quote.lines;
    const outOfStock = [bread?.productId as string, bread?.productId as string];
    const params = { orderId, reason: "out_of_stock" as const, text: "Sorry, tomorrow again!", outOfStock };
    const rejected = await shop.as(staff, "orders.reject", params);
    const rejection = { reason: "out_of_stock", text: params.text, outOfStock: [bread?.productId] };
    const reason = "Out of stock: Bread. Sorry, tomorrow again!";
    expect(rejected).toMatchObject({ status: "cancelled", reason, rejection });
    // Neither a repeat nor the report of the partner's system changes anything.
    expect(await shop.as(staff, "orders.reject", params)).toMatchObject({ reason, rejection });
    await shop.say(order, "order.rejected");
    expect(await shop.as(staff, "orders.reject", { orderId, reason: "other" })).toMatchObject({ rejection });
    expect((await shop.steps(orderId)).filter((type) => type === "order.rejected")).toHaveLength(1);
    const [told, ...more] = await shop.told(orderId, "order.rejected");
    expect(more).toEqual([]);
    expect(told?.data).toMatchObject({ actor: staff.id, reason, rejection, previousStatus: "paid" });
    const refunds = await shop.sql("SELECT borne_by FROM refunds WHERE order_id = $1", [orderId]);
    expect(refunds).toEqual([{ borne_by: "partner" }]);
    expect((await stepsOf(orderId)).at(-1)).toEqual({ type: "order.rejected", actor: staff.id, reason });
  });

  it("that ended otherwise, is not rejected with products that are out: these would be lost", async () => {
    const order = await shop.placed("paid");
    const { orderId, quote, customer } = order;
    await shop.as(customer, "orders.cancel", { orderId });
    const outOfStock = [quote.lines[0]?.productId as string];
    const rejecting = shop.as(staffOf(order), "orders.reject", {
      orderId,
      reason: "out_of_stock",
      outOfStock,
    });
    await expect(rejecting).rejects.toMatchObject({ type: "ILLEGAL_TRANSITION", code: 409 });
    const bare = shop.as(staffOf(order), "orders.reject", { orderId, reason: "too_busy" });
    expect(await bare).toMatchObject({ status: "cancelled" });
  });

  it("is not moved by what cannot be meant", async () => {
    const order = await shop.placed("paid");
    const { orderId } = order;
    const staff = staffOf(order);
    const readyAt = isoTime(Date.now() + MINUTE_MS);
    const refused = await Promise.allSettled([
      shop.as(staff, "orders.accept", { orderId, readyInMinutes: 5, readyAt }),
      shop.as(staff, "orders.accept", { orderId, readyAt: "2026-02-31T12:61:00Z" }),
      shop.as(staff, "orders.accept", { orderId, readyInMinutes: 0 }),
      shop.as(staff, "orders.delay", { orderId, reason: "Slow." }),
      shop.as(staff, "orders.reject", { orderId, reason: "out_of_stock", outOfStock: [newId()] }),
    ]);
    for (const one of refused) expect(one).toMatchObject({ reason: { code: 422 } });
    const pending = await shop.placed("pending");
    const early = shop.as(staffOf(pending), "orders.accept", { orderId: pending.orderId });
    await expect(early).rejects.toMatchObject({ type: "ILLEGAL_TRANSITION" });
    expect(await shop.get(order)).toMatchObject({ status: "paid" });
  });

  it("is moved by its own staff and by operators only; an operator's act is audited", async () => {
    const order = await shop.placed("paid");
    const { orderId, customer } = order;
    const elsewhere = { id: newId(), role: "partner", partnerId: newId() } as const;
    const accept = (who: Parameters<typeof shop.as>[0]) => shop.as(who, "orders.accept", { orderId });
    await expect(accept(elsewhere)).rejects.toMatchObject({ type: "NOT_FOUND" });
    for (const who of [customer, { id: newId(), role: "deliverer" } as const]) {
      await expect(accept(who)).rejects.toMatchObject({ type: "FORBIDDEN" });
    }
    expect(await accept(shop.admin)).toMatchObject({ status: "preparing" });
    const rejected = await shop.as(shop.admin, "orders.reject", {
      orderId,
      reason: "other",
      text: "They phoned.",
    });
    expect(rejected).toMatchObject({ status: "cancelled", reason: "They phoned." });
    const audited = await shop.told(orderId, "audit.recorded");
    expect(audited.map(({ data }) => (data as { action: string }).action)).toEqual([
      "orders.accept",
      "orders.reject",
    ]);
    const borne = await shop.sql("SELECT borne_by FROM refunds WHERE order_id = $1", [orderId]);
    expect(borne).toEqual([{ borne_by: "platform" }]);
  });
});

describe("the time to accept an order", () => {
  it.each([
    [2, 2],
    [60, 60],
    [undefined, 10],
  ])("of a partner that has set it to %s, ends %i minutes after the notice", async (setting, minutes) => {
    const { partner } = sampleQuote();
    const set = setting === undefined ? {} : { acceptanceMinutes: setting };
    const order = await shop.placed("paid", { partner: { ...partner, ...set } });
    await shop.notice(order, "no_endpoint");
    const { deadlineAt } = await shop.get(order);
    expect(minutesAway(deadlineAt)).toBeGreaterThan(minutes - 1);
    expect(minutesAway(deadlineAt)).toBeLessThan(minutes + CLOCKS_MS / MINUTE_MS);
    const [{ data } = { data: {} }] = await shop.told(order.orderId, "order.paid");
    expect(data).toMatchObject(set);
  });
});
