import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { eventually } from "./eventually.ts";
import type { OrdersHarness } from "./orders-service.ts";
import type { TestClaims } from "./tokens.ts";

export interface TestPayment {
  payment_id: string;
  amount_minor: number;
  currency: string;
  refunded_minor?: number;
}

/** A bank of the sandbox's language whose books the test writes. */
export async function startBooks() {
  const books = new Map<string, TestPayment[]>();
  const asked: string[] = [];
  const bank = {
    ...{ up: true, url: "", books, asked, stop: () => server.close() },
    /** Orders about which the bank never answers. */
    deafTo: new Set<string>(),
    /** Orders whose payments it refuses to list. */
    refusesList: new Set<string>(),
    refunds: "refused" as "refused" | "lost" | "completed",
    /** Runs between the bank's read of its books and its answer. */
    meanwhile: async (_orderId: string): Promise<void> => undefined,
  };
  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? "/", "http://bank");
    const send = (status: number, body: object) => response.writeHead(status).end(JSON.stringify(body));
    if (url.pathname === "/checkouts") return void send(201, { id: "c", url: `${bank.url}/pay` });
    if (url.pathname.startsWith("/refunds")) {
      if (bank.refunds === "lost") return void request.socket.destroy();
      if (bank.refunds === "completed") return void send(201, { state: "completed" });
    }
    if (url.pathname !== "/payments") return void send(422, {});
    const orderId = url.searchParams.get("order_id") ?? "";
    asked.push(orderId);
    if (!bank.up || bank.deafTo.has(orderId)) return void request.socket.destroy();
    if (bank.refusesList.has(orderId)) return void send(422, {});
    const items = books.get(orderId) ?? [];
    await bank.meanwhile(orderId);
    send(200, { items });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  bank.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return bank;
}

/** A payment of an order's usual total, as the bank's books have it. */
export const payment = (more: Partial<TestPayment> = {}): TestPayment => ({
  payment_id: `pay_${newId()}`,
  amount_minor: 2950,
  currency: "EUR",
  refunded_minor: 0,
  ...more,
});

/** Our records of orders and of the polls of their bank. */
export function ourBooks(shop: OrdersHarness) {
  const diagnosis = async (orderId: string) =>
    (await shop.as(shop.admin, "orders.diagnosis", { orderId })).reconciliation;
  return {
    diagnosis,
    receipts: (orderId: string) =>
      shop.sql<{ payment_id: string }>(
        "SELECT payment_id FROM payment_receipts WHERE order_id = $1 ORDER BY id",
        [orderId],
      ),
    /** Has the bank asked about the order, and waits until it has answered. */
    async look(orderId: string, minutesAgo?: number): Promise<void> {
      const before = (await diagnosis(orderId))?.answeredAt;
      await shop.lookDue(orderId, minutesAgo);
      await eventually(async () => expect((await diagnosis(orderId))?.answeredAt).not.toBe(before));
    },
    /** The order as it would be if it had been paid so long ago. */
    paidAgo: (orderId: string, minutes: number) =>
      shop.sql("UPDATE orders SET paid_at = now() - $2 * interval '1 minute' WHERE id = $1", [
        orderId,
        minutes,
      ]),
    /** Minutes from the payment to the next look; undefined: there is none. */
    async nextAfter(orderId: string): Promise<number | undefined> {
      const [row] = await shop.sql<{ minutes: number }>(
        `SELECT round(extract(epoch FROM reconcile_at - paid_at) / 60)::integer AS minutes
         FROM orders WHERE id = $1 AND reconcile_at IS NOT NULL`,
        [orderId],
      );
      return row?.minutes;
    },
    /** The money of an order, without values that differ between runs. */
    async moneyOf(order: { customer: TestClaims; orderId: string }) {
      const booked = await shop.sql(
        `SELECT r.outcome, r.amount_minor, r.refund_minor, f.amount_minor AS back, f.state, f.reason, f.borne_by
         FROM payment_receipts r LEFT JOIN refunds f USING (bank_id, payment_id)
         WHERE r.order_id = $1 ORDER BY r.id`,
        [order.orderId],
      );
      const { status, paymentStatus, paid, refunded, version } = await shop.get(order);
      const said = shop.saidOf(order.orderId).map(({ type }) => type);
      return { booked, status, paymentStatus, paid, refunded, version, said: said.sort() };
    },
  };
}
