import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { message } from "../../contracts/messages.ts";
import { exportTicket } from "../../lib/export-ticket.ts";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import { type OrdersHarness, ordersSettings, startOrders } from "../support/orders-service.ts";
import type { TestClaims } from "../support/tokens.ts";

let shop: OrdersHarness;
beforeAll(async () => {
  shop = await startOrders();
});
afterAll(() => shop.stop());

const deleted = (userId: string) =>
  shop.hear("waybill/identity", message("user.deleted", userId, { version: 7, userId }));
const updated = (userId: string, role: "customer" | "deliverer", version: number, suspended = false) =>
  shop.hear(
    "waybill/identity",
    message("user.updated", userId, {
      ...{ version, userId, email: "a@b.example", firstName: "Ada", language: "en", role },
      ...(suspended && { suspended }),
    }),
  );

describe("a former deliverer", () => {
  it.each(["is deleted", "loses the role", "is suspended"])(
    "who %s, has their orders released at once, with an alert",
    async (how) => {
      const order = await shop.placed("delivering");
      const other = await shop.placed("delivering");
      const { orderId } = order;
      const id = order.deliverer.id as string;
      if (how === "is deleted") await deleted(id);
      else await updated(id, how === "is suspended" ? "deliverer" : "customer", 5, how === "is suspended");
      const now = await shop.get(order);
      expect(now).toMatchObject({ status: "ready" });
      expect(now).not.toHaveProperty("delivererId");
      await eventually(() => expect(shop.alerts(orderId)).toEqual(["order.deliverer_gone"]));
      expect(await shop.told(orderId, "order.released")).toMatchObject([
        { data: { actor: "platform", formerDelivererId: id } },
      ]);
      expect((await shop.get(other)).status).toBe("delivering");
      const again = shop.as(order.deliverer, "orders.assign", { orderId });
      await expect(again).rejects.toMatchObject({ type: "FORBIDDEN" });
      const next = { id: newId(), role: "deliverer" } as const;
      await shop.as(next, "orders.assign", { orderId });
    },
  );

  it("who becomes a deliverer again, can be assigned orders, also if the messages arrive out of order", async () => {
    const order = await shop.placed("ready");
    const id = newId();
    await updated(id, "customer", 5);
    await updated(id, "deliverer", 6);
    await updated(id, "deliverer", 4);
    await shop.as({ id, role: "deliverer" }, "orders.assign", { orderId: order.orderId });
    await updated(id, "deliverer", 8, true);
    await updated(id, "deliverer", 7);
    expect((await shop.get(order)).status).toBe("ready");
    const assigned = shop.as({ id, role: "deliverer" }, "orders.assign", { orderId: order.orderId });
    await expect(assigned).rejects.toMatchObject({ type: "FORBIDDEN" });
  });
});

describe("a customer", () => {
  it("who becomes a deliverer or staff, still sees their own orders with the PIN", async () => {
    const order = await shop.placed("paid");
    const { orderId } = order;
    const id = order.customer.id as string;
    const { pin } = await shop.get(order);
    for (const role of ["deliverer", "partner"] as const) {
      const now = { id, role, ...(role === "partner" && { partnerId: newId() }) };
      expect(await shop.as(now, "orders.get", { orderId })).toMatchObject({ id: orderId, pin });
      const { items } = await shop.as(now, "orders.list", {});
      expect(items.map((one) => one.id)).toEqual([orderId]);
      await eventually(async () => {
        const history = await shop.as(now, "orders.history", { orderId });
        expect(history.items.map(({ type }) => type)).toEqual(["order.created", "order.paid"]);
      });
    }
  });

  it("who becomes a deliverer, lists own orders and assigned orders together, page by page", async () => {
    const own = await shop.placed("pending");
    const carried = await shop.placed("ready");
    const now = { id: own.customer.id as string, role: "deliverer" } as const;
    await shop.as(now, "orders.assign", { orderId: carried.orderId });
    const first = await shop.as(now, "orders.list", { limit: 1 });
    const second = await shop.as(now, "orders.list", { limit: 1, cursor: first.nextCursor as string });
    expect([...first.items, ...second.items].map(({ id }) => id)).toEqual([carried.orderId, own.orderId]);
    expect(second.nextCursor).toBeUndefined();
  });

  it("before the deletion of the account, has all open orders listed, and no others", async () => {
    const [open, ended] = [await shop.placed("preparing"), await shop.placed("pending")];
    await shop.as(ended.customer, "orders.cancel", { orderId: ended.orderId });
    const openOf = async ({ customer }: { customer: TestClaims }) =>
      (await shop.as(customer, "orders.openOf", {})).orderIds;
    expect(await openOf(open)).toEqual([open.orderId]);
    expect(await openOf(ended)).toEqual([]);
  });

  it("who is deleted with an open order: only operators see its PIN", async () => {
    const order = await shop.placed("delivering");
    const { orderId } = order;
    const { pin } = await shop.get(order);
    expect(await shop.as(shop.admin, "orders.get", { orderId })).not.toHaveProperty("pin");
    await deleted(order.customer.id as string);
    expect(await shop.as(shop.admin, "orders.get", { orderId })).toMatchObject({ pin });
    expect(await shop.as(order.deliverer, "orders.get", { orderId })).not.toHaveProperty("pin");
    await shop.as(order.deliverer, "orders.deliver", { orderId, pin: pin as string });
    expect(await shop.as(shop.admin, "orders.get", { orderId })).not.toHaveProperty("pin");
  });
});

describe("the customer's data in a deliverer's view", () => {
  it("are visible from the assignment until some time after the order's end", async () => {
    const order = await shop.placed("ready", { note: "Ring twice" });
    const { orderId } = order;
    const other = { id: newId(), role: "deliverer" } as const;
    const get = (who: typeof other) => shop.as(who, "orders.get", { orderId });
    await expect(get(other)).rejects.toMatchObject({ type: "NOT_FOUND" });
    await expect(shop.as(other, "orders.history", { orderId })).rejects.toMatchObject({ type: "NOT_FOUND" });
    const { items } = await shop.as(other, "orders.available", { limit: 100 });
    expect(items.map((one) => one.orderId)).toContain(orderId);
    expect(JSON.stringify(items)).not.toMatch(/Ada|Ring twice/);

    await shop.as(other, "orders.assign", { orderId });
    expect(await get(other)).toMatchObject({ customer: { name: "Ada Byron" }, note: "Ring twice" });
    const released = await shop.as(other, "orders.release", { orderId });
    expect(JSON.stringify(released)).not.toMatch(/Ada|Ring twice|\+4179/);
    await expect(get(other)).rejects.toMatchObject({ type: "NOT_FOUND" });

    await shop.as(other, "orders.assign", { orderId });
    const { pin = "" } = await shop.get(order);
    await shop.as(other, "orders.deliver", { orderId, pin });
    expect(await get(other)).toMatchObject({ customer: { name: "Ada Byron" } });
    await shop.sql("UPDATE orders SET closed_at = now() - interval '61 minutes' WHERE id = $1", [orderId]);
    const later = [await get(other), ...(await shop.as(other, "orders.list", {})).items];
    expect(later).toHaveLength(2);
    expect(JSON.stringify(later)).not.toMatch(/Ada|Ring twice|\+4179|Kirchgasse/);
    expect(await shop.get(order)).toMatchObject({ customer: { name: "Ada Byron" } });
  });
});

describe("orders.exportPage", () => {
  const keys = { secret: ordersSettings("").SEAL_SECRET };
  const ticketOf = (userId: string, lifeMs = 60_000) => exportTicket(userId, Date.now() + lifeMs, keys);
  async function exportOf(userId: string) {
    const pages = [];
    for (let cursor: string | undefined; ; ) {
      const { page, nextCursor } = await shop.bare("orders.exportPage", {
        ticket: ticketOf(userId),
        ...(cursor && { cursor }),
      });
      pages.push(page);
      if (!nextCursor) return pages;
      cursor = nextCursor;
    }
  }

  it("has the customer's orders with payments and addresses, and of a courier the deliveries without their customers", async () => {
    const { orderId, customer, deliverer } = await shop.placed("delivering");
    await shop.as(deliverer, "orders.setDuty", { onDuty: true, vehicle: "bicycle" });
    await shop.as(deliverer, "orders.reportPosition", { position: { latitude: 46.9, longitude: 7.4 } });
    const [own, none] = await exportOf(customer.id as string);
    expect(own).toMatchObject({
      addresses: [{ address: { line1: "Kirchgasse 3" } }],
      orders: [
        {
          ...{ id: orderId, customer: { name: "Ada Byron" }, refunds: [] },
          payments: [{ outcome: "accepted", amount: { amountMinor: 2950, currency: "EUR" } }],
        },
      ],
    });
    expect(own).not.toHaveProperty("duty");
    expect(none).toEqual({ deliveries: [] });
    const pages = await exportOf(deliverer.id as string);
    expect(pages).toMatchObject([
      { duty: { id: deliverer.id, onDuty: true, vehicle: "bicycle" }, orders: [] },
      { deliveries: [{ orderId, status: "delivering", position: { latitude: 46.9, longitude: 7.4 } }] },
    ]);
    expect(JSON.stringify(pages)).not.toContain("Ada");
  });

  it("continues after fifty orders, and leaves none out", async () => {
    const customerId = newId();
    const placed = await shop.placed("pending");
    await shop.sql(
      `INSERT INTO orders SELECT (jsonb_populate_record(o, jsonb_build_object('id', gen_random_uuid(), 'number', NULL,
         'customer_id', $2::text, 'created_at', now() - n * interval '1 minute'))).*
       FROM orders o, generate_series(1, 120) n WHERE o.id = $1`,
      [placed.orderId, customerId],
    );
    const pages = await exportOf(customerId);
    expect(pages.map(({ orders = [] }) => orders.length)).toEqual([50, 50, 20, 0]);
    expect(new Set(pages.flatMap(({ orders = [] }) => orders.map(({ id }) => id))).size).toBe(120);
  });

  it.each([
    [
      "of another key",
      () => exportTicket(newId(), Date.now() + 1_000, { secret: "another-secret-0123456789abcdef01234" }),
    ],
    ["that has expired", () => ticketOf(newId(), -1)],
    ["that is none", () => "ticket"],
  ])("with a ticket %s, is refused", async (_, ticket) => {
    await expect(shop.bare("orders.exportPage", { ticket: ticket() })).rejects.toMatchObject({
      type: "UNAUTHENTICATED",
    });
  });
});
