import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { checkHealth, readGauges } from "../../mixins/health/health.mixin.ts";
import { type Ferretdb, startFerretdb } from "../servers/ferretdb.ts";
import { eventually } from "../support/eventually.ts";
import { type NotificationsHarness, sampleOrder, startNotifications } from "../support/notifications.ts";
import { type OrdersHarness, startOrders } from "../support/orders-service.ts";
import { query } from "../support/sql.ts";

/** The promised time after an outage. It includes the sweep of one second and the driver's check of one second. */
const BACK_MS = 10_000;
const ANSWER_MS = 2_000;
const BACKLOG = 2_000;

let server: Ferretdb;
beforeAll(async () => {
  server = await startFerretdb();
});
afterAll(() => server.stop());

describe("orders, with the history in MongoDB,", () => {
  let shop: OrdersHarness;
  beforeAll(async () => {
    shop = await startOrders({
      settings: { MONGO_URL: server.url, NAMESPACE: `shop-${newId().slice(-12)}` },
    });
  });
  afterAll(() => shop.stop());

  const gauge = async (name: string) =>
    (await readGauges(shop.orders)).find((found) => found.name === name)?.figures;
  const history = async ({ customer, orderId }: Awaited<ReturnType<OrdersHarness["placed"]>>) =>
    (await shop.as(customer, "orders.history", { orderId })).items.map(({ to }) => to);

  it("return an order's steps from MongoDB", async () => {
    const order = await shop.placed("ready");
    await eventually(async () =>
      expect(await history(order)).toEqual(["pending", "paid", "preparing", "ready"]),
    );
    expect(await gauge("documents_available")).toEqual({ order_history: 1, payments: 1 });
  });

  it("continue during an outage: histories answer 503, messages wait and are all handled after it", async () => {
    const before = await shop.placed("paid");
    await shop.settled();
    await server.kill();
    const orders = await Promise.all(Array.from({ length: 5 }, () => shop.placed("ready")));
    for (const order of orders) expect(await shop.get(order)).toMatchObject({ status: "ready" });

    const startedMs = performance.now();
    const { customer, orderId } = before;
    await expect(shop.as(customer, "orders.history", { orderId })).rejects.toMatchObject({
      type: "SERVICE_UNAVAILABLE",
      code: 503,
    });
    expect(performance.now() - startedMs).toBeLessThan(ANSWER_MS);
    await eventually(async () =>
      expect(await gauge("documents_available")).toEqual({ order_history: 0, payments: 0 }),
    );
    // As if it had been a day: far beyond what five deliveries take.
    await shop.sql(
      "UPDATE inbox SET next_at = now(), created_at = created_at - interval '1 day' WHERE state = 'waiting'",
    );
    expect(await gauge("projection_oldest_seconds")).toBeGreaterThan(80_000);
    expect((await checkHealth(shop.orders)).every(({ ok }) => ok)).toBe(true);
    const [row] = await shop.sql<{ dead: number; waiting: number }>(
      `SELECT count(*) FILTER (WHERE state = 'dead')::integer AS dead,
         count(*) FILTER (WHERE state = 'waiting')::integer AS waiting FROM inbox`,
    );
    expect(row?.dead).toBe(0);
    expect(row?.waiting).toBeGreaterThanOrEqual(5 * 4);

    await server.start();
    for (const order of orders) {
      await eventually(
        async () => expect(await history(order)).toEqual(["pending", "paid", "preparing", "ready"]),
        { timeoutMs: BACK_MS },
      );
    }
    await shop.settled();
    expect(await gauge("projection_oldest_seconds")).toBe(0);
    expect(await gauge("dead_letters")).toBe(0);
  });

  it("handle two thousand waiting messages", async () => {
    await server.halt();
    await eventually(async () =>
      expect(await gauge("documents_available")).toEqual({ order_history: 0, payments: 0 }),
    );
    const order = sampleOrder({ status: "paid", previousStatus: "pending" });
    await shop.sql(
      `INSERT INTO inbox (message_id, consumer, source, type, subject, time, dataschema, data, state)
       SELECT gen_random_uuid(), 'orders', 'waybill/orders', 'order.paid', $1, now(), 'x',
         jsonb_set($2::jsonb, '{version}', to_jsonb(v)), 'waiting' FROM generate_series(1, $3) AS v`,
      [order.orderId, JSON.stringify({ ...order, actor: "bank:sandbox" }), BACKLOG],
    );
    await server.start();
    const startedMs = performance.now();
    await eventually(
      async () => {
        const [left] = await shop.sql<{ count: number }>(
          "SELECT count(*)::integer AS count FROM inbox WHERE state <> 'done'",
        );
        expect(left?.count).toBe(0);
      },
      { timeoutMs: 40_000 },
    );
    const ms = performance.now() - startedMs;
    process.stderr.write(`${BACKLOG} waiting messages became documents in ${Math.round(ms)} ms\n`);
  });
});

describe("notifications, with the history in MongoDB,", () => {
  let platform: NotificationsHarness;
  beforeAll(async () => {
    platform = await startNotifications({ MONGO_URL: server.url, NAMESPACE: `people-${newId().slice(-12)}` });
  });
  afterAll(() => platform.stop());

  const delivered = (id: string) =>
    platform.say("order.delivered", sampleOrder({ status: "delivered", customer: { id, name: "Zoë" } }));

  it("of a user who mutes them are in the history, also after an outage, and are not sent", async () => {
    const who = await platform.person();
    const { id } = who;
    await platform.as({ id }, "notifications.setPreferences", { push: false, email: false });
    await server.kill();
    await delivered(id);
    await eventually(async () =>
      expect(
        await query(platform.database.url, "SELECT state FROM notifications WHERE user_id = $1", [id]),
      ).toEqual([{ state: "muted" }]),
    );
    await expect(platform.historyOf(who)).rejects.toMatchObject({ type: "SERVICE_UNAVAILABLE" });
    await server.start();
    await eventually(async () => expect(await platform.historyOf(who)).toMatchObject([{ state: "muted" }]), {
      timeoutMs: BACK_MS,
    });
    expect(platform.mails(who.email)).toEqual([]);
  });

  it("of a user deleted during an outage leave the database at once, and MongoDB afterwards", async () => {
    const who = await platform.person();
    const { id } = who;
    await delivered(id);
    await eventually(async () => expect(await platform.historyOf(who)).toMatchObject([{ state: "sent" }]));
    await server.kill();
    const said = await platform.say("user.deleted", { version: 9, userId: id });
    const left = () => query(platform.database.url, "SELECT 1 FROM notifications WHERE user_id = $1", [id]);
    await eventually(async () => expect(await left()).toEqual([]));
    await server.start();
    await eventually(async () => expect(await platform.historyOf(who)).toEqual([]), { timeoutMs: BACK_MS });
    await eventually(
      async () =>
        expect(
          await query(platform.database.url, "SELECT state, attempts FROM inbox WHERE message_id = $1", [
            said.id,
          ]),
        ).toEqual([{ state: "done", attempts: 1 }]),
      { timeoutMs: BACK_MS },
    );
  });
});
