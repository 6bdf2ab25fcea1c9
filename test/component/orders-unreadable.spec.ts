import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { rebuildsOf } from "../../mixins/documents/documents.mixin.ts";
import { eventually } from "../support/eventually.ts";
import { type OrdersHarness, startOrders } from "../support/orders-service.ts";

const BEYOND = "9007199254740993";

let shop: OrdersHarness;
beforeAll(async () => {
  shop = await startOrders();
});
afterAll(() => shop.stop());

type Placed = Awaited<ReturnType<OrdersHarness["placed"]>>;
const page = (limit: number, cursor?: string) =>
  shop.as(shop.admin, "orders.list", { limit, ...(cursor && { cursor }) });

/** Every order that the operator's list shows, page by page. */
async function listed(limit: number): Promise<string[]> {
  const found: string[] = [];
  let cursor: string | undefined;
  do {
    const { items, nextCursor } = await page(limit, cursor);
    found.push(...items.map(({ id }) => id));
    cursor = nextCursor;
  } while (cursor);
  return found;
}

describe("a payment beyond the limit of an order's sums", () => {
  it("is stored as unusable and acknowledged, raises an alert, and does not change the order", async () => {
    const order = await shop.placed("paid");
    const id = `evt_${newId()}`;
    for (let time = 0; time < 2; time++) {
      await expect(
        shop.paid(order.orderId, Number.MAX_SAFE_INTEGER, { id, paymentId: "p" }),
      ).resolves.toEqual({});
    }
    const kept = await shop.sql("SELECT kind, payment_id FROM payment_events WHERE event_id = $1", [id]);
    expect(kept).toEqual([{ kind: "unusable", payment_id: "p" }]);
    await shop.settled();
    const told = shop.saidOf(shop.bankId, "alert.raised").map(({ data }) => data);
    expect(told).toEqual([expect.objectContaining({ kind: "payment.unusable", subject: id })]);
    expect(await shop.get(order)).toMatchObject({ status: "paid", paid: { amountMinor: 2950 } });
    expect(await listed(20)).toContain(order.orderId);
    expect(await shop.sql("SELECT 1 FROM refunds WHERE order_id = $1", [order.orderId])).toEqual([]);
  });

  it("at the limit, is counted and refunded exactly", async () => {
    const order = await shop.placed("paid");
    await shop.paid(order.orderId, Number.MAX_SAFE_INTEGER - 2950);
    expect(await shop.get(order)).toMatchObject({ paid: { amountMinor: Number.MAX_SAFE_INTEGER } });
  });
});

describe("an order with an unreadable number in its row", () => {
  let broken: Placed;
  let others: Placed[];
  beforeAll(async () => {
    others = [await shop.placed("paid"), await shop.placed("paid")];
    broken = await shop.placed("paid");
    others.push(await shop.placed("paid"), await shop.placed("paid"));
    await shop.settled();
    // As a release left it that did not bound its sums.
    await shop.sql("DROP TRIGGER orders_rules ON orders");
    await shop.sql("ALTER TABLE payment_receipts DROP CONSTRAINT payment_receipts_sums_bounded");
    await shop.sql("UPDATE orders SET paid_minor = $2 WHERE id = $1", [broken.orderId, BEYOND]);
  });

  it.each([1, 2, 3, 20])(
    "is omitted from a list in pages of %i, and all others are listed once",
    async (limit) => {
      const ids = await listed(limit);
      expect(ids).not.toContain(broken.orderId);
      expect(new Set(ids).size).toBe(ids.length);
      for (const { orderId } of others) expect(ids).toContain(orderId);
    },
  );

  it("fails alone when it is read together with others", async () => {
    const read = ({ orderId }: Placed) => shop.as(shop.admin, "orders.get", { orderId });
    // The first two reads have statements of their own, all others share one.
    const [alone, together, ...rest] = [...others.slice(0, 2), broken, ...others.slice(2)].map(read);
    const [failing, ...readable] = rest as [Promise<unknown>, ...Promise<{ id: string }>[]];
    await expect(failing).rejects.not.toMatchObject({ type: "NOT_FOUND" });
    const ids = (await Promise.all([alone, together, ...readable])).map((view) => view?.id);
    expect(ids).toEqual(others.map(({ orderId }) => orderId));
  });

  it("raises one alert, however often it is read", async () => {
    await listed(20);
    await expect(shop.get(broken)).rejects.toThrow();
    await eventually(() => expect(shop.alerts(broken.orderId)).toEqual(["row.unreadable"]));
    expect(shop.saidOf(broken.orderId, "alert.raised")[0]?.data).toMatchObject({
      subject: `waybill/orders/${broken.orderId}`,
      detail: expect.stringContaining("paid_minor"),
    });
  });

  it("delays no deadline, refund or rebuild of other orders", async () => {
    await shop.sql("UPDATE payment_receipts SET amount_minor = $2 WHERE order_id = $1", [
      broken.orderId,
      BEYOND,
    ]);
    const [one, two] = [await shop.placed("pending"), others[1] as Placed];
    await shop.overdue(broken.orderId);
    await shop.overdue(one.orderId);
    await shop.as(two.customer, "orders.cancel", { orderId: two.orderId });
    await eventually(async () => expect(await shop.get(one)).toMatchObject({ status: "expired" }));
    await eventually(async () =>
      expect(await shop.get(two)).toMatchObject({ paymentStatus: "refund_failed" }),
    );
    const [count] = await shop.sql<{ count: number }>(
      `SELECT (SELECT count(*) FROM payment_receipts WHERE amount_minor < 9007199254740992)::integer AS count`,
    );
    expect(await rebuildsOf(shop.orders).get("payments")?.()).toBe(count?.count);
  });

  it("with a readable refund, has it looked up less and less often, with an alert", async () => {
    const id = newId();
    await shop.sql(
      `INSERT INTO refunds (id, order_id, bank_id, payment_id, amount_minor, currency, reason, attempts)
       SELECT $2, r.order_id, r.bank_id, r.payment_id, 5, 'EUR', 'test', 10
       FROM payment_receipts r WHERE r.order_id = $1`,
      [broken.orderId, id],
    );
    await eventually(async () => {
      const [row] = await shop.sql<{ state: string; wait: number; alerted: boolean }>(
        "SELECT state, extract(epoch FROM next_at - updated_at)::integer AS wait, alerted FROM refunds WHERE id = $1",
        [id],
      );
      expect(row?.alerted).toBe(true);
      expect(row).toMatchObject({ state: "unknown" });
      expect(row?.wait).toBeGreaterThan(60);
    });
  });
});
