import { afterAll, beforeAll, beforeEach, expect } from "@jest/globals";
import { eventually } from "./eventually.ts";
import { startMoodyBank } from "./moody-bank.ts";
import { type OrdersHarness, startOrders } from "./orders-service.ts";

interface RefundRow {
  id: string;
  state: string;
  attempts: number;
  error: string | null;
}

/** The service of orders with a bank of moods, for all tests of the file that calls this; the bank begins each one well. */
export function refundStage() {
  const stage = {
    shop: {} as OrdersHarness,
    bank: {} as Awaited<ReturnType<typeof startMoodyBank>>,

    /** A paid order that its customer cancels, so that all goes back. */
    async cancelled() {
      const order = await stage.shop.placed("paid");
      await stage.shop.as(order.customer, "orders.cancel", { orderId: order.orderId, reason: "Too late" });
      return order;
    },
    refundsOf: (orderId: string) =>
      stage.shop.sql<RefundRow>(
        "SELECT id, state, attempts, error FROM refunds WHERE order_id = $1 ORDER BY created_at",
        [orderId],
      ),
    refundOf: async (orderId: string) => (await stage.refundsOf(orderId))[0] as RefundRow,
    inState: (orderId: string, state: string) =>
      eventually(async () => expect(await stage.refundOf(orderId)).toMatchObject({ state })),
  };
  beforeAll(async () => {
    stage.bank = await startMoodyBank();
    stage.shop = await startOrders({ bankUrl: stage.bank.url });
  });
  beforeEach(() => {
    stage.bank.mood = "well";
  });
  afterAll(async () => {
    await stage.shop.stop();
    await stage.bank.stop();
  });
  return stage;
}
