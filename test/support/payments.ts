import { newId } from "../../lib/ids.ts";
import { API_KEY, type OrdersHarness } from "./orders-service.ts";

/** Actions of people at the sandbox's bank, and the resulting records of the bank and of our own books. */

/** Pays on the bank's own page, so that the bank knows the payment and can give it back. @throws Error if it refuses */
export async function pay(checkoutUrl: string, form: Record<string, string>): Promise<void> {
  const response = await fetch(checkoutUrl, {
    method: "POST",
    body: new URLSearchParams(form),
    redirect: "manual",
  });
  if (response.status !== 303) throw new Error(`the bank's page answered ${response.status}`);
}

/** The report of a payment of the whole order. */
export const paymentOf = ({ orderId }: { orderId: string }) => ({
  ...{ payment_id: newId(), order_id: orderId, amount_minor: 2950, currency: "EUR" },
});

/** The payments of the order in the bank's books. */
export async function paymentsAtBank(
  shop: OrdersHarness,
  orderId: string,
): Promise<{ payment_id: string; amount_minor: number }[]> {
  const response = await fetch(`${shop.bankUrl}/payments?order_id=${orderId}`, {
    headers: { authorization: `Bearer ${API_KEY}` },
  });
  const { items } = (await response.json()) as { items: { payment_id: string; amount_minor: number }[] };
  return items;
}

/** Reports all of it: the bank's own reports go nowhere, so the test reports in its place. */
export async function reportAll(shop: OrdersHarness, orderId: string): Promise<void> {
  for (const { payment_id: paymentId, amount_minor: amountMinor } of await paymentsAtBank(shop, orderId)) {
    await shop.paid(orderId, amountMinor, { paymentId });
  }
}

export const receiptsOf = (shop: OrdersHarness, orderId: string) =>
  shop.sql<{ outcome: string; amount: number; refund: number }>(
    `SELECT outcome, amount_minor::float AS amount, refund_minor::float AS refund FROM payment_receipts
     WHERE order_id = $1 ORDER BY id`,
    [orderId],
  );

export const refundsOf = (shop: OrdersHarness, orderId: string) =>
  shop.sql<{ state: string; amount: number; reason: string }>(
    "SELECT state, amount_minor::float AS amount, reason FROM refunds WHERE order_id = $1 ORDER BY created_at",
    [orderId],
  );
