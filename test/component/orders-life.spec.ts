import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { call } from "../../contracts/actions.ts";
import type { MessageType } from "../../contracts/messages.ts";
import { newId } from "../../lib/ids.ts";
import { rebuildsOf } from "../../mixins/documents/documents.mixin.ts";
import { eventually } from "../support/eventually.ts";
import { type OrdersHarness, startOrders } from "../support/orders-service.ts";
import type { TestClaims } from "../support/tokens.ts";

let shop: OrdersHarness;
beforeAll(async () => {
  shop = await startOrders();
});
afterAll(() => shop.stop());

type Placed = Awaited<ReturnType<OrdersHarness["placed"]>>;
const staffOf = (order: Placed): TestClaims => ({
  id: newId(),
  role: "partner",
  partnerId: order.quote.partner.id,
});
const inMinutes = (minutes: number) => new Date(Date.now() + minutes * 60_000).toISOString();
const minutesUntil = (time: string | undefined) => (Date.parse(time ?? "") - Date.now()) / 60_000;
const alerts = (orderId: string) =>
  shop.saidOf(orderId, "alert.raised").map(({ data }) => (data as { kind: string }).kind);
const told = async (orderId: string, type: MessageType) => {
  await shop.settled();
  return shop.saidOf(orderId, type);
};

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
    expect(await told(order.orderId, "order.delayed")).toMatchObject([{ data: { reason: "Oven", readyAt } }]);
    expect(await told(order.orderId, "order.ready")).toMatchObject([
      { data: { pickup: order.quote.partner.pickup, actor: `partner:${order.quote.partner.id}` } },
    ]);
  });

  it("ready without a word before, moves a paid order to ready", async () => {
    const order = await shop.placed("paid");
    await shop.say(order, "order.ready");
    expect((await shop.get(order)).status).toBe("ready");
  });

  it("rejected, cancels with the partner's reason and sends all back", async () => {
    const order = await shop.placed("preparing");
    await shop.say(order, "order.rejected", { reason: "Out of flour" });
    expect(await shop.get(order)).toMatchObject({
      status: "cancelled",
      paymentStatus: "refund_pending",
      reason: "Out of flour",
    });
    expect(await told(order.orderId, "refund.requested")).toHaveLength(1);
    expect(await told(order.orderId, "order.rejected")).toMatchObject([{ data: { status: "cancelled" } }]);
  });

  it("the same event again, ten times at once, has one effect; with another body EVENT_MISMATCH", async () => {
    const order = await shop.placed("paid");
    const event = {
      partnerId: order.quote.partner.id,
      eventId: newId(),
      bodyHash: "b".repeat(64),
      type: "order.accepted" as const,
      orderId: order.orderId,
    };
    await Promise.all(Array.from({ length: 10 }, () => shop.bare("orders.applyPartnerCallback", event)));
    expect(await shop.get(order)).toMatchObject({ status: "preparing", version: 3 });
    const other = { ...event, bodyHash: "c".repeat(64), type: "order.ready" as const };
    await expect(shop.bare("orders.applyPartnerCallback", other)).rejects.toMatchObject({
      type: "EVENT_MISMATCH",
    });
    expect((await shop.get(order)).status).toBe("preparing");
  });

  it("about what the order has gone past, is taken and has no effect", async () => {
    const order = await shop.placed("delivering");
    const { version } = await shop.get(order);
    for (const type of ["order.accepted", "order.delayed", "order.ready"] as const)
      await shop.say(order, type);
    expect(await shop.get(order)).toMatchObject({ status: "delivering", version });
  });

  it("about what the order can no longer become, is refused, naming the legal states, and not kept", async () => {
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

  it("with a promise that is no time or beyond a day, is refused", async () => {
    const order = await shop.placed("paid");
    for (const readyAt of [inMinutes(25 * 60), "2026-02-31T12:61:00Z"]) {
      await expect(shop.say(order, "order.accepted", { readyAt })).rejects.toMatchObject({
        type: "VALIDATION_ERROR",
      });
    }
  });

  it("about an order of another partner, finds nothing and keeps nothing", async () => {
    const order = await shop.placed("paid");
    const stranger = newId();
    const event = {
      partnerId: stranger,
      eventId: newId(),
      bodyHash: "b".repeat(64),
      type: "order.ready" as const,
      orderId: order.orderId,
    };
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
    "of a %s order, is granted to exactly those whom the table names",
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
          expect(await told(order.orderId, "refund.requested")).toHaveLength(isPaid ? 1 : 0);
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

  it("by a deliverer is forbidden, by a stranger finds nothing", async () => {
    const order = await shop.placed("pending");
    const ask = (who: TestClaims) => shop.as(who, "orders.cancel", { orderId: order.orderId });
    await expect(ask({ id: newId(), role: "deliverer" })).rejects.toMatchObject({ type: "FORBIDDEN" });
    await expect(ask({ id: newId(), role: "customer" })).rejects.toMatchObject({ type: "NOT_FOUND" });
    await expect(ask({ id: newId(), role: "partner", partnerId: newId() })).rejects.toMatchObject({
      type: "NOT_FOUND",
    });
  });

  it("under an Idempotency-Key, keeps neither PIN nor token with the answer and replays both", async () => {
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
  it("before the payment, changes address and note; an empty note takes it away", async () => {
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

  it("after the payment, is refused", async () => {
    const order = await shop.placed("paid");
    const asked = shop.as(order.customer, "orders.update", { orderId: order.orderId, note: "x" });
    await expect(asked).rejects.toMatchObject({ type: "ILLEGAL_TRANSITION" });
  });
});

describe("who may see an order", () => {
  it("its customer, its partner's staff, its deliverer and operators; for others it is not there", async () => {
    const order = await shop.placed("delivering");
    const { orderId } = order;
    const seen = [order.customer, staffOf(order), order.deliverer, shop.admin];
    const others: TestClaims[] = [
      { id: newId(), role: "customer" },
      { id: newId(), role: "deliverer" },
      { id: newId(), role: "partner", partnerId: newId() },
    ];
    for (const name of ["orders.get", "orders.history"] as const) {
      for (const who of seen) await expect(shop.as(who, name, { orderId })).resolves.toBeDefined();
      for (const who of others) {
        await expect(shop.as(who, name, { orderId })).rejects.toMatchObject({ type: "NOT_FOUND", code: 404 });
      }
      await expect(call(shop.edge, name, { orderId })).rejects.toMatchObject({ type: "UNAUTHENTICATED" });
    }
    for (const who of seen.slice(1)) {
      const view = await shop.as(who, "orders.get", { orderId });
      expect(view).not.toHaveProperty("pin");
      expect(view).not.toHaveProperty("trackingToken");
    }
  });

  it("in lists: each their own, newest first, page by page, by state", async () => {
    const customer: TestClaims = { id: newId(), role: "customer" };
    const ids: string[] = [];
    for (let count = 0; count < 5; count++) {
      const { orderId } = await shop.placed("pending");
      await shop.sql("UPDATE orders SET customer_id = $2 WHERE id = $1", [orderId, customer.id]);
      ids.unshift(orderId);
    }
    const walked: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await shop.as(customer, "orders.list", { limit: 2, ...(cursor && { cursor }) });
      walked.push(...page.items.map(({ id }) => id));
      cursor = page.nextCursor;
    } while (cursor);
    expect(walked).toEqual([...ids].sort().reverse());
    await shop.as(customer, "orders.cancel", { orderId: ids[0] as string });
    const cancelled = await shop.as(customer, "orders.list", { status: "cancelled" });
    expect(cancelled.items.map(({ id }) => id)).toEqual([ids[0]]);
    expect((await shop.as(customer, "orders.list", { status: "pending" })).items).toHaveLength(4);
    await expect(shop.as(customer, "orders.list", { cursor: "nonsense" })).rejects.toMatchObject({
      type: "VALIDATION_ERROR",
    });
    const stranger = await shop.as({ id: newId(), role: "customer" }, "orders.list", {});
    expect(stranger.items).toEqual([]);
    expect((await shop.as(shop.admin, "orders.list", { limit: 100 })).items.length).toBeGreaterThan(5);
  });
});

describe("orders.override", () => {
  it("brings an order where the table lets operators bring it, with the reason in its history", async () => {
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

  it("cannot make an order paid, nor leave the table, nor be anybody's but an operator's", async () => {
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
    expect(await told(order.orderId, "order.expired")).toMatchObject([{ data: { actor: "deadline" } }]);
  });

  it("of an order that the partner does not accept: it is cancelled and refunded, and that is said", async () => {
    const order = await shop.placed("paid");
    expect(minutesUntil((await shop.get(order)).deadlineAt)).toBeGreaterThan(9);
    await shop.overdue(order.orderId);
    await eventually(async () => expect(await shop.get(order)).toMatchObject({ status: "cancelled" }));
    expect(await told(order.orderId, "order.cancelled")).toMatchObject([{ data: { actor: "deadline" } }]);
    expect(await told(order.orderId, "refund.requested")).toHaveLength(1);
  });

  it.each([
    ["preparing", "order.not_ready"],
    ["ready", "order.no_deliverer"],
    ["delivering", "order.deliverer_silent"],
  ] as const)(
    "of a %s order: one alert %s, the next deadline, and it shows as stuck",
    async (status, kind) => {
      const order = await shop.placed(status);
      await shop.overdue(order.orderId);
      await eventually(() => expect(alerts(order.orderId)).toEqual([kind]));
      const { deadlineAt, status: still } = await shop.get(order);
      expect(still).toBe(status);
      expect(minutesUntil(deadlineAt)).toBeGreaterThan(10);
      const { items } = await shop.as(shop.admin, "orders.stuck", { limit: 100 });
      expect(items.map(({ id }) => id)).toContain(order.orderId);
      await shop.settled();
      expect(alerts(order.orderId)).toEqual([kind]);
    },
  );

  it("of a deliverer who reported a position meanwhile: no alert, and the time counts from there", async () => {
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
    expect(alerts(orderId)).toEqual([]);
  });
});

describe("history and diagnosis", () => {
  it("tell every step with who and why; the history out of the documents, which can be made anew", async () => {
    const order = await shop.placed("ready");
    const { orderId } = order;
    const steps = [
      { type: "order.created", to: "pending", actor: order.customer.id, version: 1 },
      { type: "order.paid", from: "pending", to: "paid", actor: `bank:${shop.bankId}`, version: 2 },
      { type: "order.accepted", from: "paid", to: "preparing", version: 3 },
      { type: "order.ready", from: "preparing", to: "ready", version: 4 },
    ];
    const history = () => shop.as(order.customer, "orders.history", { orderId });
    await eventually(async () => expect((await history()).items).toMatchObject(steps));
    const { items } = await history();
    const rebuild = rebuildsOf(shop.orders);
    expect([...rebuild.keys()].sort()).toEqual(["order_history", "payments"]);
    await shop.settled();
    const [count] = await shop.sql<{ count: number }>(
      "SELECT count(*)::integer AS count FROM order_transitions",
    );
    expect(await rebuild.get("order_history")?.()).toBe(count?.count);
    const again = (await history()).items;
    expect(again.map(({ id, type, version }) => [id, type, version])).toEqual(
      items.map(({ id, type, version }) => [id, type, version]),
    );
    const [money] = await shop.sql<{ count: number }>(
      `SELECT ((SELECT count(*) FROM payment_receipts)
        + (SELECT count(*) FROM refunds WHERE state = 'completed'))::integer AS count`,
    );
    expect(await rebuild.get("payments")?.()).toBe(money?.count);
  });

  it("orders.diagnosis: history, next deadline, receipts and refunds in one answer, for operators only", async () => {
    const order = await shop.placed("paid");
    const { orderId } = order;
    const found = await shop.as(shop.admin, "orders.diagnosis", { orderId });
    expect(found).toMatchObject({
      order: { id: orderId, status: "paid" },
      history: [{ type: "order.created" }, { type: "order.paid" }],
      deadline: { at: expect.any(String), overdue: false, effect: expect.stringContaining("cancelled") },
      receipts: [{ outcome: "accepted", amount: { amountMinor: 2950, currency: "EUR" } }],
      refunds: [],
    });
    await expect(shop.as(order.customer, "orders.diagnosis", { orderId })).rejects.toMatchObject({
      type: "FORBIDDEN",
    });
  });

  it("a history that somebody would change, refuses it in the database", async () => {
    const order = await shop.placed("pending");
    for (const sql of ["UPDATE order_transitions SET reason = 'x'", "DELETE FROM order_transitions"]) {
      await expect(shop.sql(`${sql} WHERE order_id = $1`, [order.orderId])).rejects.toThrow("never changed");
    }
  });
});
