import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { message } from "../../contracts/messages.ts";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import { type OrdersHarness, startOrders } from "../support/orders-service.ts";

let shop: OrdersHarness;
beforeAll(async () => {
  shop = await startOrders();
});
afterAll(() => shop.stop());

/** From now on no statement may write this row with these values. @returns what allows it again */
async function poison(name: string, condition: string): Promise<() => Promise<unknown>> {
  await shop.sql(`ALTER TABLE orders ADD CONSTRAINT ${name} CHECK (NOT (${condition})) NOT VALID`);
  return () => shop.sql(`ALTER TABLE orders DROP CONSTRAINT ${name}`);
}

it("the workers of orders, at the intervals of production, act within seconds", async () => {
  const slow = await startOrders({ slowWorkers: true });
  try {
    const [unpaid, paid] = [await slow.placed("pending"), await slow.placed("pending")];
    await fetch(paid.confirmation.checkoutUrl, {
      method: "POST",
      headers: { "content-type": "application/x-www-form-urlencoded" },
      body: "action=pay",
      redirect: "manual",
    });
    await slow.lookDue(paid.orderId);
    await slow.overdue(unpaid.orderId);
    await eventually(async () => expect((await slow.get(unpaid)).status).toBe("expired"));
    await eventually(async () => expect((await slow.get(paid)).status).toBe("paid"));
    const before = await slow.as(slow.admin, "orders.cancel", { orderId: paid.orderId, reason: "no flour" });
    expect(before.status).toBe("cancelled");
    await eventually(async () => expect((await slow.get(paid)).paymentStatus).toBe("refunded"));
  } finally {
    await slow.stop();
  }
});

describe("an order that makes a sweep fail", () => {
  it("at its deadline, stays overdue, raises an alert with the cause, and is listed as stuck; other orders are handled", async () => {
    const [order, other] = [await shop.placed("pending"), await shop.placed("pending")];
    const { orderId } = order;
    const cure = await poison("poisoned_deadline", `id = '${orderId}' AND status = 'expired'`);
    await shop.overdue(orderId);
    await shop.overdue(other.orderId);
    await eventually(async () => expect((await shop.get(other)).status).toBe("expired"));
    const retryNow = () =>
      shop.sql("UPDATE orders SET deadline_retry_at = now() WHERE id = $1 AND deadline_failures < 3", [
        orderId,
      ]);
    await eventually(async () => {
      await retryNow();
      expect(shop.alerts(orderId)).toContain("deadline.failed");
    });
    const [alert] = shop.saidOf(orderId, "alert.raised");
    expect(alert?.data).toMatchObject({ detail: expect.stringContaining("poisoned_deadline") });
    const { deadline } = await shop.as(shop.admin, "orders.diagnosis", { orderId });
    expect(deadline).toMatchObject({ overdue: true, error: expect.stringContaining("poisoned_deadline") });
    expect(deadline?.failures).toBeGreaterThan(1);
    expect(Date.parse(deadline?.retryAt ?? "")).toBeGreaterThan(Date.parse(deadline?.at ?? ""));
    await shop.sql("UPDATE orders SET deadline_at = now() - interval '2 minutes' WHERE id = $1", [orderId]);
    const { items } = await shop.as(shop.admin, "orders.stuck", { limit: 100 });
    expect(items.find(({ id }) => id === orderId)).toMatchObject({
      stuckBecause: expect.stringContaining("poisoned_deadline"),
    });
    await cure();
    await eventually(async () => {
      await shop.sql("UPDATE orders SET deadline_retry_at = now() WHERE id = $1", [orderId]);
      expect((await shop.get(order)).status).toBe("expired");
    });
    expect((await shop.as(shop.admin, "orders.diagnosis", { orderId })).deadline).toBeUndefined();
  });

  it.each([
    ["could not be notified", "no endpoint", null, "its partner was not notified: no endpoint"],
    ["is still to be notified", null, null, expect.stringMatching(/^alert: .*has not been notified/)],
    ["was notified in the end", "no endpoint", "now", expect.not.stringContaining("no endpoint")],
  ])("since its partner %s, is listed as stuck with that cause", async (_, problem, notifiedAt, cause) => {
    const { orderId } = await shop.placed("paid");
    await shop.sql(
      "UPDATE orders SET alerted_at = now(), notice_problem = $2, partner_notified_at = $3 WHERE id = $1",
      [orderId, problem, notifiedAt],
    );
    const { items } = await shop.as(shop.admin, "orders.stuck", { limit: 100 });
    expect(items.find(({ id }) => id === orderId)).toMatchObject({ stuckBecause: cause });
  });

  it("is on one page of the stuck orders, and in the groups by cause, partner and city", async () => {
    const orders = await Promise.all([1, 2, 3].map(() => shop.placed("paid")));
    const ids = orders.map(({ orderId }) => orderId).sort();
    const partnerId = newId();
    await shop.sql(
      `UPDATE orders SET alerted_at = now() - interval '1 hour', partner_notified_at = now(), partner_id = $2,
         partner = jsonb_set(partner, '{pickup,city}', '"Leer"')
       WHERE id = ANY ($1)`,
      [ids, partnerId],
    );
    const read = (more: object) => shop.as(shop.admin, "orders.stuck", { partnerId, ...more });
    const first = await read({ limit: 2 });
    expect(first.items.map(({ id }) => id)).toEqual(ids.slice(0, 2));
    expect(first.items[0]).toMatchObject({
      stuckCause: "partner_silent",
      stuckSince: first.groups[0]?.oldest,
    });
    const second = await read({ limit: 2, cursor: first.nextCursor });
    expect(second.items.map(({ id }) => id)).toEqual(ids.slice(2));
    expect(second).not.toHaveProperty("nextCursor");
    const group = { count: 3, oldest: expect.any(String) };
    expect(first.groups).toEqual([{ name: "partner_silent", ...group }]);
    const byCity = await shop.as(shop.admin, "orders.stuck", { city: "leer", by: "city" });
    expect(byCity.groups).toEqual([{ name: "Leer", ...group }]);
    expect((await read({ by: "partner" })).groups).toHaveLength(1);
    const halfAnHourAgo = new Date(Date.now() - 1_800_000).toISOString();
    const twoHoursAgo = new Date(Date.now() - 7_200_000).toISOString();
    expect((await read({ before: halfAnHourAgo })).items).toHaveLength(3);
    for (const other of [{ before: twoHoursAgo }, { cause: "not_assigned" }, { city: "Bonn" }]) {
      expect(await read(other)).toMatchObject({ items: [], groups: [] });
    }
    await expect(read({ cursor: "nonsense" })).rejects.toMatchObject({ type: "VALIDATION_ERROR" });
  });

  it("at its poll, raises an alert with the cause; other orders are polled", async () => {
    const [order, other] = [await shop.placed("pending"), await shop.placed("pending")];
    const { orderId } = order;
    for (const { confirmation } of [order, other]) {
      // The bank knows a payment of both that it has not reported.
      await fetch(confirmation.checkoutUrl, {
        method: "POST",
        headers: { "content-type": "application/x-www-form-urlencoded" },
        body: "action=pay",
        redirect: "manual",
      });
    }
    const cure = await poison("poisoned_payment", `id = '${orderId}' AND status = 'paid'`);
    await shop.lookDue(orderId);
    await shop.lookDue(other.orderId);
    await eventually(async () => expect((await shop.get(other)).status).toBe("paid"));
    await eventually(async () => {
      await shop.sql(
        "UPDATE orders SET reconcile_at = now() WHERE id = $1 AND reconcile_failures BETWEEN 1 AND 4",
        [orderId],
      );
      expect(shop.alerts(orderId)).toContain("reconciliation.failed");
    });
    const { reconciliation } = await shop.as(shop.admin, "orders.diagnosis", { orderId });
    expect(reconciliation).toMatchObject({ error: expect.stringContaining("poisoned_payment") });
    await cure();
    await eventually(async () => {
      await shop.sql("UPDATE orders SET reconcile_at = now() WHERE id = $1 AND reconcile_failures > 0", [
        orderId,
      ]);
      expect((await shop.get(order)).status).toBe("paid");
    });
  });

  it("at its erasure, raises an alert with the cause; other customers are erased", async () => {
    const [order, other] = [await shop.placed("pending"), await shop.placed("pending")];
    for (const one of [order, other]) await shop.as(one.customer, "orders.cancel", { orderId: one.orderId });
    const cure = await poison("poisoned_erasure", `id = '${order.orderId}' AND customer_name = 'Erased'`);
    for (const { customer } of [order, other]) {
      await shop.hear(
        "waybill/identity",
        message("user.deleted", customer.id as string, {
          version: 1,
          userId: customer.id as string,
        }),
      );
    }
    const nameOf = async (id: string) =>
      (await shop.sql<{ name: string }>("SELECT customer_name AS name FROM orders WHERE id = $1", [id]))[0]
        ?.name;
    await eventually(async () => expect(await nameOf(other.orderId)).toBe("Erased"));
    // The stored answers are deleted after the orders: the order that cannot be erased ends no pass.
    await shop.sql(
      `INSERT INTO idempotency_keys (user_id, scope, key, body_hash, answer) VALUES ($1, 'x', 'k', repeat('a', 64), '{}')`,
      [other.customer.id],
    );
    await eventually(async () =>
      expect(await shop.sql("SELECT 1 FROM idempotency_keys WHERE key = 'k'")).toEqual([]),
    );
    await eventually(() => expect(shop.alerts(order.orderId)).toContain("erasure.failed"));
    await cure();
    await eventually(async () => expect(await nameOf(order.orderId)).toBe("Erased"));
    expect(newId()).toBeDefined();
  });
});
