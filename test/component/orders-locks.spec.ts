import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { call } from "../../contracts/actions.ts";
import { newId } from "../../lib/ids.ts";
import { type OtherTransaction, whileLocked } from "../support/locks.ts";
import { type OrdersHarness, startOrders } from "../support/orders-service.ts";

let shop: OrdersHarness;
beforeAll(async () => {
  shop = await startOrders();
});
afterAll(() => shop.stop());

/** Runs `work` while another transaction holds the order's lock, and then `probe` in that transaction. */
const besideOrderLock = (
  orderId: string,
  work: () => Promise<unknown>,
  probe: (other: OtherTransaction) => Promise<unknown>,
) =>
  whileLocked(
    shop.url,
    (other) => other.query("SELECT FROM orders WHERE id = $1 FOR NO KEY UPDATE", [orderId]),
    work,
    probe,
  );

/* A lock that is taken before the order's lets two transactions of one order wait for each other, for a second at least. */
describe("a transaction that waits for the lock of its order", () => {
  it("keeps no lock of a partner's callback", async () => {
    const { orderId, quote } = await shop.placed("paid");
    const [eventId, partnerId] = [newId(), quote.partner.id];
    const bodyHash = "c".repeat(64);
    await besideOrderLock(
      orderId,
      () =>
        call(shop.edge, "orders.applyPartnerCallback", {
          ...{ partnerId, eventId, bodyHash, type: "order.accepted", orderId },
        }),
      (other) =>
        other.query(
          `INSERT INTO partner_callbacks (partner_id, event_id, body_hash, type, order_id)
           VALUES ($1, $2, $3, 'order.accepted', $4)`,
          [partnerId, eventId, bodyHash, orderId],
        ),
    );
    expect(await shop.steps(orderId)).toHaveLength(3);
  });

  it("keeps no lock of a payment's receipt", async () => {
    const { orderId } = await shop.placed("pending");
    const paymentId = `pay_${newId()}`;
    await besideOrderLock(
      orderId,
      () => shop.paid(orderId, 2950, { paymentId }),
      (other) =>
        other.query(
          `INSERT INTO payment_receipts (id, bank_id, payment_id, event_id, order_id, stated_order, amount_minor, currency,
             outcome)
           VALUES ($1, $2, $3, 'evt', $4, $5, 2950, 'EUR', 'accepted')`,
          [newId(), shop.bankId, paymentId, orderId, orderId],
        ),
    );
    expect(await shop.steps(orderId)).toHaveLength(2);
  });

  it("keeps no lock of an unmatched payment that an operator assigns", async () => {
    const { orderId } = await shop.placed("pending");
    const paymentId = `pay_${newId()}`;
    await shop.paid(newId(), 2950, { paymentId });
    const [receipt] = await shop.sql<{ id: string }>(
      "SELECT id FROM payment_receipts WHERE payment_id = $1",
      [paymentId],
    );
    const receiptId = receipt?.id as string;
    await besideOrderLock(
      orderId,
      () => shop.as(shop.admin, "orders.assignPayment", { receiptId, orderId, reason: "By telephone" }),
      (other) => other.query("SELECT FROM payment_receipts WHERE id = $1 FOR UPDATE", [receiptId]),
    );
    expect(await shop.steps(orderId)).toHaveLength(2);
  });
});
