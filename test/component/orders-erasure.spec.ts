import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { message } from "../../contracts/messages.ts";
import { envelope } from "../../mixins/outbox/envelope.ts";
import { insertMessages } from "../../mixins/outbox/outbox.repository.ts";
import { eventually } from "../support/eventually.ts";
import { type OrdersHarness, startOrders } from "../support/orders-service.ts";
import { openPool } from "../support/postgres.ts";

let shop: OrdersHarness;
beforeAll(async () => {
  shop = await startOrders();
});
afterAll(() => shop.stop());

/** Identity's message that a user was erased. */
async function erased(userId: string) {
  const db = openPool(shop, 1);
  const news = message("user.deleted", userId, { version: 9, userId });
  await insertMessages(db, [envelope("waybill/identity", news, Date.now())]).finally(() => db.close());
  await eventually(async () => {
    const known = await shop.sql("SELECT 1 FROM erased_customers WHERE customer_id = $1", [userId]);
    expect(known).toHaveLength(1);
  });
}

const personal = (orderId: string) =>
  shop.sql<{ name: string; phone: string | null; line1: string; city: string; erased: boolean }>(
    `SELECT customer_name AS name, customer_phone AS phone, address->>'line1' AS line1, address->>'city' AS city,
       erased_at IS NOT NULL AS erased FROM orders WHERE id = $1`,
    [orderId],
  );

describe("an erased customer", () => {
  it("is removed from all ended orders; lines and payments stay", async () => {
    const order = await shop.placed("paid");
    const mine = { orderId: order.orderId };
    const before = await shop.as(order.customer, "orders.get", mine);
    await shop.as(shop.admin, "orders.cancel", { ...mine, reason: "no flour" });
    await shop.settled();
    await erased(order.customer.id as string);
    await eventually(async () =>
      expect(await personal(order.orderId)).toEqual([
        expect.objectContaining({ name: "Erased", line1: "Erased", city: before.address.city, erased: true }),
      ]),
    );
    const rows = await shop.sql<{ text: string }>("SELECT o::text AS text FROM orders o WHERE id = $1", [
      order.orderId,
    ]);
    for (const text of [before.customer.name, before.customer.phone, before.address.line1, before.note]) {
      if (text) expect(rows[0]?.text).not.toContain(text);
    }
    const after = await shop.as(shop.admin, "orders.get", mine);
    expect(after).toMatchObject({ total: before.total, lines: before.lines, status: "cancelled" });
    expect(after.version).toBeGreaterThan(before.version);
    expect(after.address.position).toBeUndefined();
  });

  it("is visible to the deliverer of an open order until the order ends", async () => {
    const order = await shop.placed("delivering");
    await erased(order.customer.id as string);
    expect((await personal(order.orderId))[0]).toMatchObject({ erased: false });
    const seen = await shop.as(order.deliverer, "orders.get", { orderId: order.orderId });
    expect(seen.address.line1).not.toBe("Erased");
    const { pin } = await shop.get(order);
    // An operator gives it to the deliverer, because the customer cannot.
    expect(await shop.as(shop.admin, "orders.get", { orderId: order.orderId })).toMatchObject({ pin });
    await shop.as(order.deliverer, "orders.deliver", { orderId: order.orderId, pin: pin as string });
    await eventually(async () =>
      expect((await personal(order.orderId))[0]).toMatchObject({ name: "Erased", erased: true }),
    );
    expect(await shop.as(shop.admin, "orders.get", { orderId: order.orderId })).not.toHaveProperty("pin");
  });

  it("is removed from the list of erased customers a day later, if no data is left", async () => {
    const order = await shop.placed("delivering");
    await erased(order.customer.id as string);
    await shop.sql("UPDATE erased_customers SET created_at = now() - interval '25 hours'");
    await eventually(async () =>
      expect(await shop.sql("SELECT customer_id AS id FROM erased_customers")).toEqual([
        { id: order.customer.id },
      ]),
    );
  });

  it("does not affect the orders of other customers", async () => {
    const [gone, stays] = [await shop.placed("paid"), await shop.placed("paid")];
    for (const { orderId } of [gone, stays]) {
      await shop.as(shop.admin, "orders.cancel", { orderId, reason: "no flour" });
    }
    await erased(gone.customer.id as string);
    await eventually(async () => expect((await personal(gone.orderId))[0]).toMatchObject({ erased: true }));
    expect((await personal(stays.orderId))[0]).toMatchObject({ erased: false });
  });
});
