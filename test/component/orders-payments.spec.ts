import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import { type OrdersHarness, startOrders } from "../support/orders-service.ts";
import { pay, paymentOf, paymentsAtBank, receiptsOf, refundsOf, reportAll } from "../support/payments.ts";

let shop: OrdersHarness;
beforeAll(async () => {
  shop = await startOrders();
});
afterAll(() => shop.stop());

/** A report with an amount that no payment has. */
const ofAmount = (amount: number) =>
  JSON.stringify({
    type: "payment.succeeded",
    data: { payment_id: "p", order_id: "o", amount_minor: amount, currency: "EUR" },
  });

describe("a payment", () => {
  it("of the total, makes the order paid and saves the message before the response", async () => {
    const order = await shop.confirmed();
    await expect(shop.paid(order.orderId)).resolves.toEqual({});
    expect(await shop.get(order)).toMatchObject({
      status: "paid",
      paymentStatus: "paid",
      version: 2,
      paid: { amountMinor: 2950, currency: "EUR" },
    });
    expect(await receiptsOf(shop, order.orderId)).toEqual([{ outcome: "accepted", amount: 2950, refund: 0 }]);
    await shop.settled();
    expect(
      shop
        .saidOf(order.orderId)
        .map(({ type }) => type)
        .sort(),
    ).toEqual(["order.created", "order.paid", "payment.received"]);
    const moved = { event: "order.moved", data: { orderId: order.orderId, version: 2 } };
    await eventually(() => expect(shop.live).toContainEqual(moved));
  });

  it("that is too small, leaves the order pending until the rest is paid", async () => {
    const order = await shop.confirmed();
    await shop.paid(order.orderId, 1000);
    expect(await shop.get(order)).toMatchObject({ status: "pending", paymentStatus: "partially_paid" });
    await shop.paid(order.orderId, 1950);
    expect(await shop.get(order)).toMatchObject({ status: "paid", paymentStatus: "paid" });
    expect(await receiptsOf(shop, order.orderId)).toMatchObject([
      { outcome: "underpaid" },
      { outcome: "accepted" },
    ]);
    expect(await refundsOf(shop, order.orderId)).toEqual([]);
  });

  it("that is too small, is refunded when the order expires", async () => {
    const order = await shop.confirmed();
    await pay(order.confirmation.checkoutUrl, { action: "underpay", amount: "10.00" });
    await reportAll(shop, order.orderId);
    await shop.overdue(order.orderId);
    await eventually(async () =>
      expect(await shop.get(order)).toMatchObject({
        status: "expired",
        paymentStatus: "refunded",
        paid: { amountMinor: 1000 },
        refunded: { amountMinor: 1000 },
      }),
    );
    expect(await refundsOf(shop, order.orderId)).toMatchObject([{ state: "completed", amount: 1000 }]);
  });

  it("that is too large, makes the order paid and refunds the excess", async () => {
    const order = await shop.confirmed();
    await pay(order.confirmation.checkoutUrl, { action: "underpay", amount: "40.00" });
    await reportAll(shop, order.orderId);
    expect(await shop.get(order)).toMatchObject({ status: "paid", paymentStatus: "paid" });
    await eventually(async () =>
      expect(await shop.get(order)).toMatchObject({
        status: "paid",
        paymentStatus: "paid",
        paid: { amountMinor: 4000 },
        refunded: { amountMinor: 1050 },
      }),
    );
    expect(await receiptsOf(shop, order.orderId)).toEqual([
      { outcome: "overpaid", amount: 4000, refund: 1050 },
    ]);
    await shop.settled();
    expect(shop.saidOf(order.orderId, "refund.completed")).toMatchObject([
      { data: { amount: { amountMinor: 1050, currency: "EUR" } } },
    ]);
  });

  it("made twice, counts once and is refunded once in full", async () => {
    const order = await shop.confirmed();
    await pay(order.confirmation.checkoutUrl, { action: "pay_twice" });
    await reportAll(shop, order.orderId);
    await eventually(async () =>
      expect(await shop.get(order)).toMatchObject({
        status: "paid",
        paid: { amountMinor: 5900 },
        refunded: { amountMinor: 2950 },
      }),
    );
    expect(await receiptsOf(shop, order.orderId)).toEqual([
      { outcome: "accepted", amount: 2950, refund: 0 },
      { outcome: "overpaid", amount: 2950, refund: 2950 },
    ]);
  });

  it.each(["cancelled", "expired"])("received when the order is %s, is refunded in full", async (ending) => {
    const order = await shop.confirmed();
    await pay(order.confirmation.checkoutUrl, { action: "pay" });
    if (ending === "cancelled") await shop.as(order.customer, "orders.cancel", { orderId: order.orderId });
    else await shop.overdue(order.orderId);
    await eventually(async () => expect((await shop.get(order)).status).toBe(ending));
    await reportAll(shop, order.orderId);
    await eventually(async () =>
      expect(await shop.get(order)).toMatchObject({
        status: ending,
        paymentStatus: "refunded",
        refunded: { amountMinor: 2950 },
      }),
    );
    expect(await receiptsOf(shop, order.orderId)).toEqual([{ outcome: "late", amount: 2950, refund: 2950 }]);
  });

  it("reported again, by the same or another event, has no further effect", async () => {
    const order = await shop.confirmed();
    const event = { id: `evt_${newId()}`, paymentId: `pay_${newId()}` };
    await Promise.all(Array.from({ length: 10 }, () => shop.paid(order.orderId, 2950, event)));
    await shop.paid(order.orderId, 2950, { paymentId: event.paymentId });
    expect(await receiptsOf(shop, order.orderId)).toHaveLength(1);
    expect(await shop.get(order)).toMatchObject({ version: 2, paid: { amountMinor: 2950 } });
    await shop.settled();
    expect(shop.saidOf(order.orderId, "order.paid")).toHaveLength(1);
  });

  it.each([
    ["another amount", { amountMinor: 2950, currency: "EUR" }, ["payment.contradiction"]],
    ["another currency", { amountMinor: 1000, currency: "CHF" }, ["payment.contradiction"]],
    ["the same amount", { amountMinor: 1000, currency: "EUR" }, []],
  ])("reported again with %s, has no effect but an alert where it differs", async (_, again, alerts) => {
    const order = await shop.confirmed();
    const paymentId = `pay_${newId()}`;
    await shop.paid(order.orderId, 1000, { paymentId });
    await shop.paid(order.orderId, again.amountMinor, { paymentId, currency: again.currency });
    expect(await shop.get(order)).toMatchObject({ status: "pending", paid: { amountMinor: 1000 } });
    await shop.settled();
    const about = shop.said.filter(
      ({ type, data }) => type === "alert.raised" && JSON.stringify(data).includes(paymentId),
    );
    expect(about.map(({ data }) => (data as { kind: string }).kind)).toEqual(alerts);
  });

  it("under the id of an earlier event with another body, is refused with EVENT_MISMATCH", async () => {
    const order = await shop.confirmed();
    const id = `evt_${newId()}`;
    await shop.paid(order.orderId, 1000, { id });
    await expect(shop.paid(order.orderId, 2950, { id })).rejects.toMatchObject({
      type: "EVENT_MISMATCH",
      code: 409,
    });
    expect(await shop.get(order)).toMatchObject({ paid: { amountMinor: 1000 } });
  });

  it("for an unknown order, is stored and acknowledged, and raises an alert", async () => {
    for (const stranger of [newId(), "not-an-id"]) {
      const paymentId = `pay_${newId()}`;
      await expect(shop.paid(stranger, 500, { paymentId })).resolves.toEqual({});
      const kept = await shop.sql(
        "SELECT order_id, stated_order, outcome FROM payment_receipts WHERE payment_id = $1",
        [paymentId],
      );
      expect(kept).toEqual([{ order_id: null, stated_order: stranger, outcome: "unmatched" }]);
      await eventually(() =>
        expect(shop.saidOf(shop.bankId, "payment.unmatched").map(({ data }) => data)).toContainEqual(
          expect.objectContaining({
            paymentId,
            outcome: "unmatched",
            amount: { amountMinor: 500, currency: "EUR" },
          }),
        ),
      );
      await eventually(() =>
        expect(shop.saidOf(shop.bankId, "alert.raised").map(({ data }) => data)).toContainEqual(
          expect.objectContaining({ kind: "payment.unmatched", subject: paymentId }),
        ),
      );
    }
  });

  it("for an order of another bank, does not count for it", async () => {
    const secret = `whsec_${"C".repeat(43)}=`;
    const other = await shop.as(shop.admin, "orders.createBank", {
      title: "Other bank",
      adapter: "sandbox",
      settings: { apiKey: "other", webhookSecret: secret },
      webcheckoutUrl: shop.bankUrl,
      active: true,
    });
    const order = await shop.confirmed();
    const data = paymentOf(order);
    await shop.report({ data }, { bankId: other.id, secret });
    expect(await shop.get(order)).toMatchObject({ status: "pending", paymentStatus: "unpaid" });
    await eventually(() => expect(shop.alerts(other.id)).toEqual(["payment.unmatched"]));
  });

  it("in another currency, does not count, is refunded and raises an alert", async () => {
    const order = await shop.confirmed();
    await pay(order.confirmation.checkoutUrl, { action: "pay" });
    const [payment] = await paymentsAtBank(shop, order.orderId);
    const paymentId = payment?.payment_id as string;
    await shop.paid(order.orderId, 2950, { currency: "CHF", paymentId });
    expect(await shop.get(order)).toMatchObject({ status: "pending", paymentStatus: "unpaid" });
    await shop.settled();
    expect(await receiptsOf(shop, order.orderId)).toEqual([
      { outcome: "unmatched", amount: 2950, refund: 2950 },
    ]);
    expect(await refundsOf(shop, order.orderId)).toMatchObject([{ state: "completed", amount: 2950 }]);
    expect(await shop.get(order)).toMatchObject({ refunded: { amountMinor: 0 }, paymentStatus: "unpaid" });
    expect(shop.alerts(order.orderId)).toEqual(["payment.unmatched"]);
    expect(shop.saidOf(order.orderId, "refund.completed")).toHaveLength(1);
  });

  it("that was declined, is stored and changes nothing", async () => {
    const order = await shop.confirmed();
    const data = paymentOf(order);
    await shop.report({ type: "payment.failed", data });
    expect(await shop.get(order)).toMatchObject({ status: "pending", version: 1 });
    const kept = await shop.sql("SELECT kind FROM payment_events WHERE payment_id = $1", [data.payment_id]);
    expect(kept).toEqual([{ kind: "failed" }]);
  });

  it.each([
    ["not JSON", "{"],
    ["of an unknown type", JSON.stringify({ type: "payment.pondered", data: {} })],
    ["an amount of nothing", ofAmount(0)],
    ["a fraction", ofAmount(1.5)],
    ["in a currency that is none", ofAmount(5).replace("EUR", "XXX")],
    ["nothing that a database stores", "{\0"],
  ])(
    "with a genuine report that is %s, is stored as received and acknowledged, and raises an alert",
    async (_, body) => {
      const id = `evt_${newId()}`;
      await expect(shop.report({ id, data: body })).resolves.toEqual({});
      await expect(shop.report({ id, data: body })).resolves.toEqual({});
      const kept = await shop.sql("SELECT kind, body FROM payment_events WHERE event_id = $1", [id]);
      expect(kept).toEqual([{ kind: "unusable", body: body.replace("\0", "\ufffd") }]);
      await eventually(() => {
        const details = shop
          .saidOf(shop.bankId, "alert.raised")
          .map(({ data }) => (data as { detail: string }).detail);
        expect(details.filter((detail) => detail.includes(id))).toHaveLength(1);
      });
    },
  );
});

describe("concurrent payments, cancellation and expiry", () => {
  it("conserve the money in any order, and each refund is executed once", async () => {
    const orders = await Promise.all(Array.from({ length: 12 }, () => shop.confirmed()));
    await Promise.all(
      orders.map(({ confirmation }, index) =>
        pay(confirmation.checkoutUrl, { action: index % 2 ? "pay_twice" : "pay" }),
      ),
    );
    await Promise.all(
      orders.flatMap((order) => [
        reportAll(shop, order.orderId),
        shop.as(order.customer, "orders.cancel", { orderId: order.orderId }).catch((error) => {
          expect(error).toMatchObject({ type: expect.stringMatching(/ORDER_NOT_CANCELLABLE|ORDER_CHANGED/) });
        }),
        shop.sql("UPDATE orders SET deadline_at = now() WHERE id = $1 AND status = 'pending'", [
          order.orderId,
        ]),
      ]),
    );
    await shop.settled();
    const broken = await shop.sql(
      `SELECT id FROM orders o WHERE
         paid_minor <> (SELECT sum(amount_minor) FROM payment_receipts r WHERE r.order_id = o.id)
         OR refunded_minor <> (SELECT coalesce(sum(amount_minor), 0) FROM refunds f
           WHERE f.order_id = o.id AND f.state = 'completed')
         OR refund_pending_minor <> 0
         OR paid_minor - refunded_minor <> CASE WHEN status = 'paid' THEN total_minor ELSE 0 END`,
    );
    expect(broken.filter(({ id }) => orders.some(({ orderId }) => orderId === id))).toEqual([]);
    for (const { orderId } of orders) {
      const versions = await shop.sql<{ version: number }>(
        "SELECT version FROM order_transitions WHERE order_id = $1 ORDER BY version",
        [orderId],
      );
      expect(new Set(versions.map(({ version }) => version)).size).toBe(versions.length);
    }
  });
});
