import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import { staffOf } from "../support/orders.ts";
import { type OrdersHarness, startOrders } from "../support/orders-service.ts";
import type { TestClaims } from "../support/tokens.ts";

let shop: OrdersHarness;
beforeAll(async () => {
  shop = await startOrders();
});
afterAll(() => shop.stop());

const inMinutes = (minutes: number) => new Date(Date.now() + minutes * 60_000).toISOString();
const minutesUntil = (time: string | undefined) => (Date.parse(time ?? "") - Date.now()) / 60_000;

const eventOf = ({ orderId }: { orderId: string }, partnerId: string) => ({
  ...{ partnerId, orderId, eventId: newId(), bodyHash: "b".repeat(64) },
});

describe("orders.applyPartnerCallback", () => {
  it("accepted, then delayed, then ready, moves the order and its deadline", async () => {
    const order = await shop.placed("paid");
    await shop.say(order, "order.accepted");
    const accepted = await shop.get(order);
    expect(accepted.status).toBe("preparing");
    expect(minutesUntil(accepted.readyAt)).toBeGreaterThan(19);
    expect(accepted.deadlineAt).toBe(accepted.readyAt);
    const readyAt = inMinutes(45);
    await shop.say(order, "order.delayed", { readyAt, reason: "Oven" });
    expect(await shop.get(order)).toMatchObject({ status: "preparing", readyAt, deadlineAt: readyAt });
    await shop.say(order, "order.ready");
    expect(await shop.get(order)).toMatchObject({ status: "ready" });
    expect(await shop.told(order.orderId, "order.delayed")).toMatchObject([
      { data: { reason: "Oven", readyAt } },
    ]);
    expect(await shop.told(order.orderId, "order.ready")).toMatchObject([
      { data: { pickup: order.quote.partner.pickup, actor: `partner:${order.quote.partner.id}` } },
    ]);
  });

  it("ready without accepted before, moves a paid order to ready", async () => {
    const order = await shop.placed("paid");
    await shop.say(order, "order.ready");
    expect((await shop.get(order)).status).toBe("ready");
  });

  it("rejected, cancels with the partner's reason and refunds everything", async () => {
    const order = await shop.placed("preparing");
    await shop.say(order, "order.rejected", { reason: "Out of flour" });
    expect(await shop.get(order)).toMatchObject({
      status: "cancelled",
      paymentStatus: "refund_pending",
      reason: "Out of flour",
    });
    expect(await shop.told(order.orderId, "refund.requested")).toHaveLength(1);
    expect(await shop.told(order.orderId, "order.rejected")).toMatchObject([
      { data: { status: "cancelled" } },
    ]);
  });

  it("the same event again, ten times at once, has one effect; with another body EVENT_MISMATCH", async () => {
    const order = await shop.placed("paid");
    const event = { ...eventOf(order, order.quote.partner.id), type: "order.accepted" as const };
    await Promise.all(Array.from({ length: 10 }, () => shop.bare("orders.applyPartnerCallback", event)));
    expect(await shop.get(order)).toMatchObject({ status: "preparing", version: 3 });
    const other = { ...event, bodyHash: "c".repeat(64), type: "order.ready" as const };
    await expect(shop.bare("orders.applyPartnerCallback", other)).rejects.toMatchObject({
      type: "EVENT_MISMATCH",
    });
    expect((await shop.get(order)).status).toBe("preparing");
  });

  it("about an earlier state of the order, is accepted and has no effect", async () => {
    const order = await shop.placed("delivering");
    const { version } = await shop.get(order);
    for (const type of ["order.accepted", "order.delayed", "order.ready"] as const)
      await shop.say(order, type);
    expect(await shop.get(order)).toMatchObject({ status: "delivering", version });
  });

  it("about a state that is no longer possible, is refused with the legal states, and is not stored", async () => {
    const order = await shop.placed("ready");
    await expect(shop.say(order, "order.rejected")).rejects.toMatchObject({
      type: "ILLEGAL_TRANSITION",
      code: 409,
      data: { status: "ready", legal: ["cancelled", "delivering"] },
    });
    const kept = await shop.sql(
      "SELECT type FROM partner_callbacks WHERE order_id = $1 AND type = 'order.rejected'",
      [order.orderId],
    );
    expect(kept).toEqual([]);
  });

  it("with a promised time that is invalid or more than a day away, is refused", async () => {
    const order = await shop.placed("paid");
    for (const readyAt of [inMinutes(25 * 60), "2026-02-31T12:61:00Z", "0000-01-01T00:00:00Z"]) {
      await expect(shop.say(order, "order.accepted", { readyAt })).rejects.toMatchObject({
        type: "VALIDATION_ERROR",
      });
    }
  });

  it("about an order of another partner, is NOT_FOUND and stores nothing", async () => {
    const order = await shop.placed("paid");
    const stranger = newId();
    const event = { ...eventOf(order, stranger), type: "order.ready" as const };
    await expect(shop.bare("orders.applyPartnerCallback", event)).rejects.toMatchObject({
      type: "NOT_FOUND",
    });
    expect(await shop.sql("SELECT 1 FROM partner_callbacks WHERE partner_id = $1", [stranger])).toEqual([]);
  });
});

describe("orders.cancel", () => {
  const allowed = {
    pending: ["customer", "admin"],
    paid: ["customer", "partner", "admin"],
    preparing: ["partner", "admin"],
    ready: ["admin"],
    delivering: [],
  } as const;

  it.each(Object.entries(allowed))(
    "of a %s order, is allowed for exactly the actors in the table",
    async (status, may) => {
      for (const role of ["customer", "partner", "admin"] as const) {
        const order = await shop.placed(status as keyof typeof allowed);
        const who = role === "customer" ? order.customer : role === "partner" ? staffOf(order) : shop.admin;
        const asked = shop.as(who, "orders.cancel", { orderId: order.orderId, reason: "No longer" });
        if ((may as readonly string[]).includes(role)) {
          expect(await asked).toMatchObject({ status: "cancelled", reason: "No longer" });
          await shop.settled();
          const { paid, refunded } = await shop.get(order);
          const isPaid = status !== "pending";
          // The bank of these tests knows no payment that the test itself reported: it refuses for good.
          expect(paid.amountMinor).toBe(isPaid ? 2950 : 0);
          expect(refunded.amountMinor).toBe(0);
          expect(await shop.told(order.orderId, "refund.requested")).toHaveLength(isPaid ? 1 : 0);
          expect(await shop.as(who, "orders.cancel", { orderId: order.orderId })).toMatchObject({
            status: "cancelled",
          });
        } else {
          await expect(asked).rejects.toMatchObject({
            type: "ORDER_NOT_CANCELLABLE",
            code: 409,
            data: { status, legal: expect.any(Array) },
          });
        }
      }
    },
  );

  it("by a deliverer, is FORBIDDEN; by another customer, NOT_FOUND", async () => {
    const order = await shop.placed("pending");
    const ask = (who: TestClaims) => shop.as(who, "orders.cancel", { orderId: order.orderId });
    await expect(ask({ id: newId(), role: "deliverer" })).rejects.toMatchObject({ type: "FORBIDDEN" });
    await expect(ask({ id: newId(), role: "customer" })).rejects.toMatchObject({ type: "NOT_FOUND" });
    await expect(ask({ id: newId(), role: "partner", partnerId: newId() })).rejects.toMatchObject({
      type: "NOT_FOUND",
    });
  });

  it("with an Idempotency-Key, stores neither PIN nor token, and a replay has both", async () => {
    const order = await shop.placed("pending");
    const key = { key: newId(), bodyHash: "f".repeat(64) };
    const first = await shop.as(order.customer, "orders.cancel", { orderId: order.orderId }, key);
    expect(first).toMatchObject({ pin: expect.any(String), trackingToken: expect.any(String) });
    await expect(shop.as(order.customer, "orders.cancel", { orderId: order.orderId }, key)).resolves.toEqual(
      first,
    );
    const [kept] = await shop.sql<{ answer: unknown }>("SELECT answer FROM idempotency_keys WHERE key = $1", [
      key.key,
    ]);
    expect(JSON.stringify(kept?.answer)).toContain(order.orderId);
    expect(JSON.stringify(kept?.answer)).not.toMatch(/"pin":|trackingToken/);
  });
});

describe("orders.update", () => {
  it("before the payment, changes address and note; an empty note removes the note", async () => {
    const order = await shop.placed("pending");
    const { orderId } = order;
    const address = { line1: "Bundesplatz 3", city: "Bern", postalCode: "3005", country: "CH" };
    const changed = await shop.as(order.customer, "orders.update", {
      orderId,
      expectedVersion: 1,
      address,
      note: "Bell",
    });
    expect(changed).toMatchObject({ version: 2, address, note: "Bell", pin: expect.any(String) });
    const stale = shop.as(order.customer, "orders.update", { orderId, expectedVersion: 1, note: "x" });
    await expect(stale).rejects.toMatchObject({ type: "PRECONDITION_FAILED", code: 412 });
    const without = await shop.as(order.customer, "orders.update", { orderId, note: "" });
    expect(without).not.toHaveProperty("note");
    expect(without).toMatchObject({ version: 3, address });
  });

  it("with a note of null, removes the note; without fields, does not change the version", async () => {
    const { orderId, customer } = await shop.placed("pending");
    await shop.as(customer, "orders.update", { orderId, note: "Bell" });
    const without = await shop.as(customer, "orders.update", { orderId, note: null });
    expect(without).not.toHaveProperty("note");
    expect(without.version).toBe(3);
    expect(await shop.as(customer, "orders.update", { orderId })).toEqual(without);
    const stale = shop.as(customer, "orders.update", { orderId, expectedVersion: 2 });
    await expect(stale).rejects.toMatchObject({ type: "PRECONDITION_FAILED" });
  });

  it("to an address without a postal code, is refused unless the country has none", async () => {
    const { orderId, customer } = await shop.placed("pending");
    const address = { line1: "Al Wasl Road 12", city: "Dubai", postalCode: "", country: "AE" };
    const bern = { ...address, country: "CH" };
    const refused = shop.as(customer, "orders.update", { orderId, address: bern });
    await expect(refused).rejects.toMatchObject({ type: "VALIDATION_ERROR" });
    const changed = await shop.as(customer, "orders.update", { orderId, address });
    expect(changed).toMatchObject({ address });
  });

  it("after the payment, is refused", async () => {
    const order = await shop.placed("paid");
    const asked = shop.as(order.customer, "orders.update", { orderId: order.orderId, note: "x" });
    await expect(asked).rejects.toMatchObject({ type: "ILLEGAL_TRANSITION" });
  });
});

describe("orders.override", () => {
  it("sets a state that the table allows operators, with the reason in the history", async () => {
    const order = await shop.placed("paid");
    const { orderId } = order;
    for (const to of ["preparing", "ready"] as const) {
      const moved = await shop.as(shop.admin, "orders.override", { orderId, to, reason: "By telephone" });
      expect(moved).toMatchObject({ status: to, reason: "By telephone" });
    }
    await shop.as(shop.admin, "orders.reassign", {
      orderId,
      delivererId: newId(),
      reason: "The boss drives",
    });
    const done = await shop.as(shop.admin, "orders.override", {
      orderId,
      to: "delivered",
      reason: "Seen it",
    });
    expect(done.status).toBe("delivered");
  });

  it("refuses the state paid, states outside the table, and callers who are not operators", async () => {
    const order = await shop.placed("pending");
    const ask = (who: TestClaims, to: "paid" | "ready" | "expired") =>
      shop.as(who, "orders.override", { orderId: order.orderId, to, reason: "x" });
    await expect(ask(shop.admin, "paid")).rejects.toMatchObject({ type: "VALIDATION_ERROR" });
    await expect(ask(shop.admin, "expired")).rejects.toMatchObject({ type: "VALIDATION_ERROR" });
    await expect(ask(shop.admin, "ready")).rejects.toMatchObject({ type: "ILLEGAL_TRANSITION" });
    await expect(ask(order.customer, "paid")).rejects.toMatchObject({ type: "FORBIDDEN" });
  });
});

describe("deadlines", () => {
  it("of an unpaid order: it expires", async () => {
    const order = await shop.placed("pending");
    await shop.overdue(order.orderId);
    await eventually(async () => expect(await shop.get(order)).toMatchObject({ status: "expired" }));
    expect(await shop.told(order.orderId, "order.expired")).toMatchObject([{ data: { actor: "deadline" } }]);
  });

  it("of an order that the partner does not accept: it is cancelled and refunded, with messages", async () => {
    const order = await shop.placed("paid");
    await shop.notice(order);
    expect(minutesUntil((await shop.get(order)).deadlineAt)).toBeGreaterThan(9);
    await shop.overdue(order.orderId);
    await eventually(async () => expect(await shop.get(order)).toMatchObject({ status: "cancelled" }));
    expect(await shop.told(order.orderId, "order.cancelled")).toMatchObject([
      { data: { actor: "deadline" } },
    ]);
    expect(await shop.told(order.orderId, "refund.requested")).toHaveLength(1);
  });

  it("of a paid order whose message stays in the outbox: an alert, no cancellation, and the full time afterwards", async () => {
    const order = await shop.placed("paid");
    const { orderId } = order;
    await shop.settled();
    await shop.sql(
      `UPDATE outbox SET sent_at = NULL, attempts = 7, error = 'no broker', next_at = now() + interval '3 hours'
       WHERE subject = $1 AND type = 'order.paid'`,
      [orderId],
    );
    await shop.sql("UPDATE orders SET deadline_at = now() - interval '3 hours' WHERE id = $1", [orderId]);
    const kind = "order.partner_not_notified";
    await eventually(() => expect(shop.alerts(orderId)).toEqual([kind]));
    const [alert] = shop.saidOf(orderId, "alert.raised");
    expect(alert?.data).toMatchObject({ detail: expect.stringContaining("outbox of Orders") });
    expect(alert?.data).toMatchObject({ detail: expect.stringContaining("7 tries: no broker") });
    expect(await shop.get(order)).toMatchObject({ status: "paid", paymentStatus: "paid" });
    const { items } = await shop.as(shop.admin, "orders.stuck", { limit: 100 });
    expect(items.map(({ id }) => id)).toContain(orderId);
    expect(await shop.as(shop.admin, "orders.diagnosis", { orderId })).toMatchObject({
      partnerNotice: { problem: expect.stringContaining("outbox of Orders") },
    });
    await shop.notice(order);
    expect(minutesUntil((await shop.get(order)).deadlineAt)).toBeGreaterThan(9);
    const left = await shop.as(shop.admin, "orders.stuck", { limit: 100 });
    expect(left.items.map(({ id }) => id)).not.toContain(orderId);
    await shop.sql("UPDATE outbox SET next_at = now() WHERE subject = $1", [orderId]);
  });

  it("of a paid order whose partner cannot be notified: an alert with the cause at once, and no cancellation", async () => {
    const order = await shop.placed("paid");
    await shop.notice(order, "held_up", "order.paid is a dead letter of Partners: it throws");
    await eventually(() => expect(shop.alerts(order.orderId)).toEqual(["order.partner_not_notified"]));
    await shop.overdue(order.orderId);
    await eventually(() => expect(shop.alerts(order.orderId)).toHaveLength(2));
    const alerts = shop.saidOf(order.orderId, "alert.raised").map(({ data }) => JSON.stringify(data));
    for (const text of alerts) expect(text).toContain("dead letter of Partners: it throws");
    expect((await shop.get(order)).status).toBe("paid");
  });

  it.each([
    ["preparing", "order.not_ready"],
    ["ready", "order.no_deliverer"],
    ["delivering", "order.deliverer_silent"],
    ["failed", "order.undeliverable"],
  ] as const)(
    "of a %s order: one alert %s, the next deadline, and it shows as stuck",
    async (status, kind) => {
      const order = await shop.placed(status === "failed" ? "delivering" : status);
      if (status === "failed")
        await shop.as(order.deliverer, "orders.fail", { orderId: order.orderId, reason: "Nobody there" });
      await shop.overdue(order.orderId);
      await eventually(() => expect(shop.alerts(order.orderId)).toEqual([kind]));
      const { deadlineAt, status: still } = await shop.get(order);
      expect(still).toBe(status);
      expect(minutesUntil(deadlineAt)).toBeGreaterThan(10);
      const { items } = await shop.as(shop.admin, "orders.stuck", { limit: 100 });
      expect(items.map(({ id }) => id)).toContain(order.orderId);
      await shop.settled();
      expect(shop.alerts(order.orderId)).toEqual([kind]);
    },
  );

  it("of a deliverer who has reported a position: no alert, and the time counts from the report", async () => {
    const order = await shop.placed("delivering");
    const { orderId } = order;
    await shop.as(order.deliverer, "orders.reportLocation", {
      orderId,
      position: { latitude: 46, longitude: 7 },
    });
    await shop.overdue(orderId);
    await eventually(async () =>
      expect(minutesUntil((await shop.get(order)).deadlineAt)).toBeGreaterThan(19),
    );
    await shop.settled();
    expect(shop.alerts(orderId)).toEqual([]);
  });
});
