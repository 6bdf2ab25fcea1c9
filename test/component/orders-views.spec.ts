import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { type ActionName, actions, call } from "../../contracts/actions.ts";
import type { Props, Rule } from "../../contracts/schema.ts";
import { newId } from "../../lib/ids.ts";
import { rebuildsOf } from "../../mixins/documents/documents.mixin.ts";
import { gatewayActions } from "../../services/api/actions/contract.ts";
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

/** Whether answers of this schema hold data of an order's customer. */
function showsCustomer(rule: Rule & { props?: Props; items?: Rule }): boolean {
  if (rule.items) return showsCustomer(rule.items);
  return Object.entries(rule.props ?? {}).some(
    ([name, inner]) => ["customer", "destination"].includes(name) || showsCustomer(inner),
  );
}

describe("the customer's data, in every action whose answer has an order,", () => {
  const ofCustomer = ["Ada Byron", "+41790000000", "Secret Lane 77", "Third floor", "Ring twice"];
  const address = {
    ...{ line1: "Secret Lane 77", line2: "Third floor", postalCode: "3011", city: "Bern", country: "CH" },
    position: { latitude: 46.948123, longitude: 7.447456 },
  };
  const quote = { address, note: "Ring twice" };
  const found = (text: string) => ofCustomer.filter((part) => text.includes(part));
  const key = () => ({ key: newId(), bodyHash: "b".repeat(64) });
  const reason = "Nobody there.";
  /** The parameters with which staff or a deliverer call the action. An action that only others call has none. */
  const calls: Partial<Record<ActionName, object | null>> = {
    "orders.get": {},
    "orders.list": {},
    "orders.update": null,
    "orders.cancel": { reason },
    "orders.accept": {},
    "orders.delay": { readyInMinutes: 5 },
    "orders.makeReady": {},
    "orders.reject": { reason: "closing" },
    "orders.available": {},
    "orders.offers": {},
    "orders.assign": {},
    "orders.release": {},
    "orders.claim": {},
    "orders.unclaim": {},
    "orders.pickUp": { code: "A1-001" },
    "orders.deliver": { pin: "0000" },
    "orders.fail": { reason },
    "orders.refund": null,
    "orders.reassign": null,
    "orders.override": null,
    "orders.diagnosis": null,
    "orders.stuck": null,
    "orders.assignPayment": null,
    // The user's own data: of deliveries they have no customer (orders-accounts.spec.ts).
    "identity.exportData": null,
    "identity.exportPage": null,
    "notifications.exportPage": null,
    "orders.exportPage": null,
    "orders.events": null,
    // Not in the schema, but made from texts about the order.
    "orders.history": {},
  };

  async function seenBy(who: TestClaims, orderId: string) {
    const seen: Record<string, string[]> = {};
    for (const [name, params] of Object.entries(calls) as [ActionName, object | null][]) {
      const own = ["orders.list", "orders.available", "orders.offers"].includes(name) ? {} : { orderId };
      const answer = await shop
        .as(who, name, { ...own, ...params } as never)
        .catch((error: Error & { data?: unknown }) => `${error.message} ${JSON.stringify(error.data)}`);
      const parts = found(JSON.stringify(answer));
      if (parts.length > 0) seen[name] = parts;
    }
    return seen;
  }

  it("is covered by this test", () => {
    const showing = Object.entries(actions).flatMap(([name, { result }]) =>
      showsCustomer(result) ? [name] : [],
    );
    // Of the gateway's own operations, the CSV has the rows of `orders.list`, and only operators see a user.
    const own = Object.entries(gatewayActions).flatMap(([name, { result }]) =>
      showsCustomer(result) ? [name] : [],
    );
    expect(own).toEqual(["api.user"]);
    expect([...showing, "orders.history"].sort()).toEqual(Object.keys(calls).sort());
  });

  it("is hidden from staff a day after the end, and from the deliverer an hour after it", async () => {
    const order = await shop.placed("delivering", quote);
    const { orderId, deliverer } = order;
    const staff = staffOf(order);
    const pin = (await shop.get(order)).pin as string;
    await shop.as(deliverer, "orders.deliver", { orderId, pin });
    expect(await seenBy(deliverer, orderId)).toMatchObject({
      "orders.get": expect.arrayContaining(["Ada Byron"]),
    });
    const ended = (interval: string) =>
      shop.sql("UPDATE orders SET closed_at = now() - $2::interval WHERE id = $1", [orderId, interval]);
    await ended("61 minutes");
    expect(await seenBy(deliverer, orderId)).toEqual({});
    const all = { "orders.get": ofCustomer, "orders.list": ofCustomer };
    expect(await seenBy(staff, orderId)).toMatchObject(all);
    expect((await shop.as(staff, "orders.list", { q: "byron" })).items).toHaveLength(1);
    await ended("25 hours");
    expect(await seenBy(staff, orderId)).toEqual({});
    expect((await shop.as(staff, "orders.list", { q: "byron" })).items).toEqual([]);
    const { number } = await shop.as(staff, "orders.get", { orderId });
    expect((await shop.as(staff, "orders.list", { q: number as string })).items).toHaveLength(1);
    expect((await shop.as(shop.admin, "orders.list", { q: "byron" })).items.length).toBeGreaterThan(0);
  });

  it("is hidden from deliverers before the assignment: of the destination they see the area", async () => {
    const { orderId } = await shop.placed("ready", quote);
    const courier: TestClaims = { id: newId(), role: "deliverer" };
    const pool = await shop.as(courier, "orders.available", {
      latitude: 46.948,
      longitude: 7.4474,
      limit: 100,
    });
    const entry = pool.items.find((one) => one.orderId === orderId);
    expect(entry?.destination).toEqual({
      ...{ line1: "-", postalCode: "3011", city: "Bern", country: "CH" },
      position: { latitude: 46.95, longitude: 7.45 },
    });
    expect(found(JSON.stringify(pool))).toEqual([]);
    expect(await shop.as(courier, "orders.assign", { orderId })).toMatchObject({ address });
    const released = await shop.as(courier, "orders.release", { orderId });
    expect(found(JSON.stringify(released))).toEqual([]);
  });

  it("is hidden in a stored answer that a repeat gets later", async () => {
    const order = await shop.placed("ready", quote);
    const { orderId } = order;
    const courier: TestClaims = { id: newId(), role: "deliverer" };
    const [assignKey, cancelKey] = [key(), key()];
    const assign = () => shop.as(courier, "orders.assign", { orderId }, assignKey);
    expect(found(JSON.stringify(await assign()))).toContain("Ada Byron");
    expect(found(JSON.stringify(await assign()))).toContain("Ada Byron");
    await shop.as(courier, "orders.fail", { orderId, reason });
    const cancel = () => shop.as(shop.admin, "orders.cancel", { orderId }, cancelKey);
    expect(await cancel()).toMatchObject({ status: "cancelled" });
    await shop.sql("UPDATE orders SET closed_at = now() - interval '61 minutes' WHERE id = $1", [orderId]);
    const again = await assign();
    expect(again).toMatchObject({ status: "delivering", delivererId: courier.id });
    expect(found(JSON.stringify(again))).toEqual([]);
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
