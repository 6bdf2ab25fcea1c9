import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { call } from "../../contracts/actions.ts";
import { newId } from "../../lib/ids.ts";
import { rebuildsOf } from "../../mixins/documents/documents.mixin.ts";
import { eventually } from "../support/eventually.ts";
import { staffOf } from "../support/orders.ts";
import { type OrdersHarness, startOrders } from "../support/orders-service.ts";
import type { TestClaims } from "../support/tokens.ts";

let shop: OrdersHarness;
beforeAll(async () => {
  shop = await startOrders();
});
afterAll(() => shop.stop());

describe("the visibility of an order", () => {
  it("covers its customer, its partner's staff, its deliverer and operators; others get NOT_FOUND", async () => {
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

  it("is that of each reader when reads of several readers and orders share a statement", async () => {
    const orders = await Promise.all([1, 2, 3].map(() => shop.placed("delivering")));
    const reads = orders.flatMap((order) =>
      [order.customer, staffOf(order), order.deliverer, shop.admin].flatMap((who) =>
        orders.map(async ({ orderId, customer }) => {
          const isReadable = order.orderId === orderId || who === shop.admin;
          const read = shop.as(who, "orders.get", { orderId });
          if (!isReadable) return await expect(read).rejects.toMatchObject({ type: "NOT_FOUND" });
          const view = await read;
          expect(view).toMatchObject({ id: orderId, customer: { id: customer.id } });
          expect("pin" in view).toBe(who.id === customer.id);
        }),
      ),
    );
    await Promise.all(reads);
  });

  it("in lists: each caller's own, the last confirmed first, page by page, by state", async () => {
    const customer: TestClaims = { id: newId(), role: "customer" };
    const ids: string[] = [];
    const checks = Array.from({ length: 5 }, () => newId());
    // In another order than they were checked in.
    for (const index of [2, 0, 4, 1, 3]) {
      const { orderId } = await shop.placed("pending", { checkId: checks[index] as string });
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
    expect(walked).toEqual(ids);
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

describe("orders.track", () => {
  it("with a changed, foreign or invented token, is NOT_FOUND", async () => {
    const order = await shop.placed("paid");
    const token = (await shop.get(order)).trackingToken as string;
    await expect(shop.bare("orders.track", { token })).resolves.toMatchObject({
      status: "paid",
      firstName: "Ada",
    });
    const bytes = Buffer.from(token, "base64url");
    const forged = [...bytes.keys()].map((index) => {
      const changed = Buffer.from(bytes);
      changed.writeUInt8(changed.readUInt8(index) ^ 1, index);
      return changed.toString("base64url");
    });
    for (const made of [...forged, "x", "A".repeat(51), order.orderId]) {
      await expect(shop.bare("orders.track", { token: made })).rejects.toMatchObject({ type: "NOT_FOUND" });
    }
  });

  it("shows an ended order for a day, then is NOT_FOUND", async () => {
    const order = await shop.placed("pending");
    const token = (await shop.get(order)).trackingToken as string;
    await shop.as(order.customer, "orders.cancel", { orderId: order.orderId });
    const tracked = await shop.bare("orders.track", { token });
    expect(tracked).toMatchObject({ status: "cancelled" });
    expect(tracked).not.toHaveProperty("position");
    await shop.sql("UPDATE orders SET closed_at = now() - interval '25 hours' WHERE id = $1", [
      order.orderId,
    ]);
    await expect(shop.bare("orders.track", { token })).rejects.toMatchObject({ type: "NOT_FOUND" });
  });
});

describe("history and diagnosis", () => {
  it("contain every step with actor and reason; the history comes from documents, which can be rebuilt", async () => {
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
    expect(await shop.as(shop.admin, "orders.diagnosis", { orderId })).toMatchObject({
      deadline: { effect: expect.stringContaining("has not been notified") },
      partnerNotice: { problem: expect.any(String) },
    });
    await shop.notice(order);
    const found = await shop.as(shop.admin, "orders.diagnosis", { orderId });
    expect(found).toMatchObject({
      order: { id: orderId, status: "paid" },
      partnerNotice: { at: expect.any(String) },
      history: [{ type: "order.created" }, { type: "order.paid" }],
      deadline: { at: expect.any(String), overdue: false, effect: expect.stringContaining("cancelled") },
      receipts: [{ outcome: "accepted", amount: { amountMinor: 2950, currency: "EUR" } }],
      refunds: [],
    });
    await expect(shop.as(order.customer, "orders.diagnosis", { orderId })).rejects.toMatchObject({
      type: "FORBIDDEN",
    });
  });

  it("orders.state, called by another service, returns the present and the previous state", async () => {
    const { orderId } = await shop.placed("preparing");
    expect(await shop.bare("orders.state", { orderId })).toEqual({
      state: { status: "preparing", previousStatus: "paid", version: 3 },
    });
    expect(await shop.bare("orders.state", { orderId: newId() })).toEqual({});
  });

  it("the database refuses changes of a history", async () => {
    const order = await shop.placed("pending");
    for (const sql of ["UPDATE order_transitions SET reason = 'x'", "DELETE FROM order_transitions"]) {
      await expect(shop.sql(`${sql} WHERE order_id = $1`, [order.orderId])).rejects.toThrow("never changed");
    }
  });
});
