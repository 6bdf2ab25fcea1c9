import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import type { OrderStatus } from "../../contracts/orders.ts";
import { newId } from "../../lib/ids.ts";
import { legalNext } from "../../services/orders/domain/order.ts";
import { type OrdersHarness, startOrders } from "../support/orders-service.ts";
import type { TestClaims } from "../support/tokens.ts";

const HISTORIES = 20;
const COMMANDS = 14;

let shop: OrdersHarness;
beforeAll(async () => {
  shop = await startOrders();
});
afterAll(() => shop.stop());

type Order = Awaited<ReturnType<OrdersHarness["placed"]>>;
type Command = (order: Order) => Promise<unknown>;

const couriers: TestClaims[] = [
  { id: newId(), role: "deliverer" },
  { id: newId(), role: "deliverer" },
];
const as = (who: (order: Order) => TestClaims) => ({
  cancel: ((order) => shop.as(who(order), "orders.cancel", { orderId: order.orderId })) satisfies Command,
});
const courier = (index: number) => couriers[index] as TestClaims;
const anyCommand = fc.oneof(
  fc.constantFrom(1000, 1950, 2950, 4000).map<Command>(
    (amount) =>
      ({ orderId }) =>
        shop.paid(orderId, amount),
  ),
  fc
    .constantFrom("order.accepted", "order.ready", "order.rejected", "order.delayed")
    .map<Command>(
      (type) => (order) =>
        shop.say(order, type as "order.ready", { readyAt: new Date(Date.now() + 9e5).toISOString() }),
    ),
  fc.constantFrom<Command>(as(({ customer }) => customer).cancel, as(() => shop.admin).cancel),
  fc.nat(1).map<Command>(
    (index) =>
      ({ orderId }) =>
        shop.as(courier(index), "orders.assign", { orderId }),
  ),
  fc.nat(1).map<Command>(
    (index) =>
      ({ orderId }) =>
        shop.as(courier(index), "orders.release", { orderId }),
  ),
  fc.nat(1).map<Command>(
    (index) =>
      ({ orderId }) =>
        shop.as(courier(index), "orders.fail", { orderId, reason: "x" }),
  ),
  fc.nat(1).map<Command>((index) => async (order) => {
    const { pin = "" } = await shop.get(order);
    return shop.as(courier(index), "orders.deliver", { orderId: order.orderId, pin });
  }),
  fc.constant<Command>(({ customer, orderId }) =>
    shop.as(customer, "orders.update", { orderId, note: newId() }),
  ),
  fc.constant<Command>(({ orderId }) =>
    shop.as(shop.admin, "orders.refund", { orderId, reason: "goodwill" }),
  ),
  fc.constant<Command>(({ orderId }) =>
    shop.as(shop.admin, "orders.reassign", { orderId, reason: "operator" }),
  ),
);

interface Line {
  version: number;
  from_status: OrderStatus | null;
  to_status: OrderStatus;
}

describe("an order under concurrent commands of all roles", () => {
  it("has one history with legal, consecutive steps and increasing versions", async () => {
    const plans = fc.sample(fc.array(anyCommand, { minLength: COMMANDS, maxLength: COMMANDS }), HISTORIES);
    const starts = ["pending", "paid", "preparing", "ready", "delivering"] as const;
    let steps = 0;
    const refusals = new Set<string>();
    for (const [index, commands] of plans.entries()) {
      const order = await shop.placed(starts[index % starts.length] ?? "pending");
      const done = await Promise.allSettled(commands.map((command) => command(order)));
      for (const one of done) {
        if (one.status === "rejected") refusals.add(`${one.reason.code} ${one.reason.type}`);
      }
    }
    // No answer is a failure of ours. A busy machine may answer 503 SERVICE_UNAVAILABLE.
    expect([...refusals].filter((refusal) => !/^4\d\d |^503 SERVICE_UNAVAILABLE/.test(refusal))).toEqual([]);
    const orders = await shop.sql<{ id: string; status: OrderStatus; version: number }>(
      "SELECT id, status, version FROM orders",
    );
    for (const { id, status, version } of orders) {
      const lines = await shop.sql<Line>(
        "SELECT version, from_status, to_status FROM order_transitions WHERE order_id = $1 ORDER BY version",
        [id],
      );
      let [at, last] = ["pending" as OrderStatus, 0];
      for (const line of lines) {
        expect(line.version).toBeGreaterThan(last);
        if (line.from_status !== null) {
          expect(line.from_status).toBe(at);
          if (line.to_status !== at) expect(legalNext(at)).toContain(line.to_status);
        }
        [at, last] = [line.to_status, line.version];
        steps += 1;
      }
      expect(status).toBe(at);
      expect(version).toBeGreaterThanOrEqual(last);
    }
    expect(orders).toHaveLength(HISTORIES);
    // Bringing the orders to where they start takes three steps on the average.
    expect(steps).toBeGreaterThan(HISTORIES * 3);
    await shop.settled();
    const broken = await shop.sql(
      `SELECT o.id FROM orders o
       LEFT JOIN LATERAL (SELECT coalesce(sum(amount_minor), 0) AS received, coalesce(sum(refund_minor), 0) AS back
         FROM payment_receipts r WHERE r.order_id = o.id) r ON true
       LEFT JOIN LATERAL (SELECT coalesce(sum(amount_minor) FILTER (WHERE state = 'completed'), 0) AS done,
         count(*) FILTER (WHERE state NOT IN ('completed', 'failed')) AS open
         FROM refunds f WHERE f.order_id = o.id) f ON true
       WHERE o.paid_minor <> r.received OR o.refunded_minor <> f.done OR r.back <> f.done OR f.open <> 0
         OR o.refund_pending_minor <> 0`,
    );
    expect(broken).toEqual([]);
  });
});
