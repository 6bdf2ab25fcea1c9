import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Database, Db } from "../../lib/sql/database.ts";
import { move } from "../../services/orders/domain/order.ts";
import type { Actor } from "../../services/orders/domain/order-model.ts";
import {
  admissionOf,
  couriersPage,
  nearestCouriers,
  savePositions,
} from "../../services/orders/store/couriers.repository.ts";
import { dueOrders, lockDueOrder } from "../../services/orders/store/deadlines.repository.ts";
import { bestCouriers, dueOffers, markPooled } from "../../services/orders/store/offers.repository.ts";
import {
  countOrders,
  listOrders,
  listTransitions,
  type Owner,
  poolOrders,
  stuckGroups,
  stuckOrders,
} from "../../services/orders/store/order-lists.repository.ts";
import {
  findOrder,
  nowAndNumber,
  type Reader,
  saveOrder,
  type Viewer,
} from "../../services/orders/store/orders.repository.ts";
import {
  claimRefunds,
  dueRefundBanks,
  findRefund,
  receiptsOf,
  refundsOf,
} from "../../services/orders/store/payments.repository.ts";
import {
  bookedPayments,
  claimPolls,
  countOverduePolls,
  dueBanks,
  endPoll,
} from "../../services/orders/store/reconciliation.repository.ts";
import { findShownOrders } from "../../services/orders/store/shown-orders.repository.ts";
import { explain } from "../support/explain.ts";
import { createDatabase, openPool, type TestDatabase } from "../support/postgres.ts";

const ORDERS = 100_000;
/** One order with its lines, receipts and what else hangs on it: a dozen pages, whatever the size of the tables. */
const ONE_ORDER_PAGES = 40;

/** The nearest 20 on both sides of the antimeridian, and the same orders once more for the page. */
const NEAREST_PAGES = 300;

let database: TestDatabase;
let db: Database;
const BANK = "00000000-0000-7000-8000-00000000beef";
const LEASE = "00000000-0000-7000-8000-000000000001";
const idOf = (kind: string, number: number) =>
  `00000000-0000-7000-8${kind}-${String(number).padStart(12, "0")}`;
const orderId = (number: number) => idOf("000", number);
// One customer in ten has a thousand orders: for a planner with old statistics, a tempting index.
const customerId = (number: number) => idOf("001", number % 100);
const partnerId = (number: number) => idOf("002", number % 20);
const delivererId = (number: number) => idOf("003", number % 500);

beforeAll(async () => {
  database = await createDatabase("orders");
  db = openPool(database, 1);
  await db.query("SET statement_timeout = '60s'");
  await db.query("SET session_replication_role = replica"); // what is loaded here refers to what is there
  for (const table of ["orders", "order_lines", "order_transitions", "payment_receipts", "refunds"]) {
    await db.query(`ALTER TABLE ${table} SET (autovacuum_enabled = false)`);
  }
  await db.query(
    `INSERT INTO banks (id, title, adapter, settings, webcheckout_url, active)
     VALUES (?, 'Bank', 'sandbox', 's', 'http://bank.example', true)`,
    [BANK],
  );
  await load(0, 1_000);
  await db.query("ANALYZE");
  await load(1_000, ORDERS);
});
afterAll(async () => {
  await db.close();
  await database.drop();
});

/** Of a hundred orders 95 are delivered; what hangs on an order is there for those that the tests look at. */
async function load(from: number, to: number): Promise<void> {
  const id = (kind: string, number: string) =>
    `('00000000-0000-7000-8${kind}-' || lpad((${number})::text, 12, '0'))::uuid`;
  await db.query(
    `INSERT INTO orders (id, version, status, payment_status, customer_id, customer_name, partner_id, partner,
       number, pickup_latitude, pickup_longitude, deliverer_id, currency, fee_minor, total_minor, paid_minor, address, bank_id,
       pay_by, deadline_at, ready_since, pooled_at, closed_at, reconcile_at, paid_at, created_at, updated_at)
     SELECT ${id("000", "n")}, 3, status, CASE status WHEN 'pending' THEN 'unpaid' ELSE 'paid' END,
       ${id("001", "n % 100")}, 'Ada Byron', ${id("002", "n % 20")}, '{"title": "Bakery", "pickup": {}}',
       'K' || n / 20000 || '-' || lpad((n / 20 % 1000)::text, 3, '0'), 46 + random(), 7 + random(), CASE WHEN status IN ('delivered', 'delivering') THEN ${id("003", "n % 500")} END,
       'EUR', 300, 1000, CASE status WHEN 'pending' THEN 0 ELSE 1000 END, '{}', '${BANK}', now(),
       CASE WHEN status <> 'delivered' THEN now() + n * interval '1 second' END,
       CASE WHEN status = 'ready' THEN now() END, CASE WHEN status = 'ready' AND n <> 50003 THEN now() END,
       CASE WHEN status = 'delivered' THEN now() END, now() + interval '1 hour' + n * interval '1 second',
       CASE WHEN status <> 'pending' AND n % 10 = 3 THEN now() END, now(), now()
     FROM (SELECT n, CASE n % 100 WHEN 0 THEN 'pending' WHEN 1 THEN 'paid' WHEN 2 THEN 'preparing' WHEN 3 THEN 'ready'
       WHEN 4 THEN 'delivering' ELSE 'delivered' END AS status
       FROM generate_series(?::int, ?::int - 1) n) AS made`,
    [from, to],
  );
  await db.query(
    `INSERT INTO order_lines (order_id, line_number, product_id, title, quantity, unit_price_minor)
     SELECT ${id("000", "n")}, 1, gen_random_uuid(), 'Bread', 1, 350 FROM generate_series(?::int, ?::int - 1) n
     WHERE n % 10 IN (0, 3, 4)`,
    [from, to],
  );
  await db.query(
    `INSERT INTO order_transitions (id, order_id, version, type, to_status, actor)
     SELECT gen_random_uuid(), ${id("000", "n")}, 1, 'order.created', 'pending', 'somebody'
     FROM generate_series(?::int, ?::int - 1) n
     WHERE n % 10 IN (0, 3, 4)`,
    [from, to],
  );
  await db.query(
    `INSERT INTO payment_receipts (id, bank_id, payment_id, event_id, order_id, stated_order, amount_minor, currency,
       outcome)
     SELECT gen_random_uuid(), '${BANK}', 'p' || n, 'e' || n, ${id("000", "n")}, '', 1000, 'EUR', 'accepted'
     FROM generate_series(?::int, ?::int - 1) n WHERE n % 10 IN (0, 3, 4)`,
    [from, to],
  );
  await db.query(
    `INSERT INTO refunds (id, order_id, bank_id, payment_id, amount_minor, currency, reason, state)
     SELECT ${id("004", "n")}, ${id("000", "n")}, '${BANK}', 'p' || n, 100, 'EUR', 'r',
       CASE WHEN n % 1000 = 0 THEN 'pending' ELSE 'completed' END
     FROM generate_series(?::int, ?::int - 1) n WHERE n % 10 = 0`,
    [from, to],
  );
}

const viewers: [string, Viewer][] = [
  ["its customer", { role: "customer", id: customerId(50_003) }],
  ["its partner", { role: "partner", partnerId: partnerId(50_003) }],
  ["a deliverer", { role: "deliverer", id: delivererId(1) }],
  ["its bank", { role: "bank", bankId: BANK }],
  ["an operator", { role: "anybody" }],
];
const lists: [string, Owner][] = [
  ["a customer's", { role: "customer", id: customerId(7) }],
  ["a partner's", { role: "partner", partnerId: partnerId(7), id: customerId(7) }],
  ["a deliverer's", { role: "deliverer", id: delivererId(7) }],
  ["an operator's", { role: "admin" }],
];

describe.each(["stale", "fresh"])("at 100,000 orders, with %s statistics", (statistics) => {
  beforeAll(async () => {
    if (statistics === "fresh") await db.query("ANALYZE");
  });
  const pagesOf = async (work: (explaining: Db) => Promise<unknown>) => (await explain(db, work)).pages;

  it.each(viewers)("an order for %s is found by its primary key", async (_, viewer) => {
    expect(await pagesOf((on) => findOrder(on, orderId(50_003), viewer))).toBeLessThan(ONE_ORDER_PAGES);
  });

  it("orders for several readers in one statement are each found by their primary key", async () => {
    const readersOf = (number: number): Reader[] => [
      { role: "person", id: customerId(number) },
      { role: "person", id: delivererId(number), carries: true },
      { role: "person", id: customerId(7), partnerId: partnerId(number) },
      { role: "anybody" },
    ];
    const wanted = Array.from({ length: 10 }, (_, n) => 50_010 + 100 * n).flatMap((number) =>
      readersOf(number).map((reader) => ({ orderId: orderId(number), reader })),
    );
    expect((await findShownOrders(db, wanted)).size).toBe(wanted.length);
    const read = await explain(db, (on) => findShownOrders(on, wanted));
    expect(read.scanned).toEqual([]);
    expect(read.pages).toBeLessThan(ONE_ORDER_PAGES * wanted.length);
  });

  it("a free number is found by the index, however many orders the partner has", async () => {
    const candidates = ["K0-000", "K1-111", "K2-222", "K4-999", "K7-042"];
    expect(await nowAndNumber(db, partnerId(7), candidates, orderId(50_003))).toMatchObject({
      ...{ number: "K7-042", isKnown: true },
    });
    const read = await explain(db, (on) => nowAndNumber(on, partnerId(7), candidates, orderId(50_003)));
    expect(read.scanned).toEqual([]);
    expect(read.pages).toBeLessThan(ONE_ORDER_PAGES * candidates.length);
  });

  it("a move reads and writes only the order's rows", async () => {
    const found = await findOrder(db, orderId(50_003), { role: "anybody" });
    if (!found) throw new Error("not there");
    const actor: Actor = { kind: "deliverer", name: "somebody" };
    const decision = move(found.order, "assign", actor, Date.now(), { delivererId: delivererId(1) });
    expect(await pagesOf((on) => saveOrder(on, found.order, decision, "[]"))).toBeLessThan(
      ONE_ORDER_PAGES * 2,
    );
  });

  it("a position reads and writes only the order's rows", async () => {
    const at = { latitude: 46, longitude: 7 };
    const report = (on: Db) =>
      savePositions(on, { orderId: orderId(50_004), delivererId: delivererId(50_004) }, at);
    expect(await pagesOf(report)).toBeLessThan(ONE_ORDER_PAGES);
  });

  it.each(lists)("a page of %s orders reads only the rows of the page", async (_, owner) => {
    const before = orderId(90_000);
    expect(await pagesOf((on) => listOrders(on, owner, { before, limit: 21 }))).toBeLessThan(700);
  });

  it("overdue deadlines are found without reading others", async () => {
    await db.query("UPDATE orders SET deadline_at = now() - interval '1 second' WHERE id = ?", [
      orderId(100),
    ]);
    expect(await dueOrders(db, 50)).toContain(orderId(100));
    expect(await pagesOf((on) => dueOrders(on, 50))).toBeLessThan(20);
    expect(await pagesOf((on) => lockDueOrder(on, orderId(100)))).toBeLessThan(20);
  });

  it("orders with a due poll are found without reading others, unpaid ones first", async () => {
    const due = [orderId(200), orderId(300), orderId(50_003), orderId(50_004)];
    await db.query("UPDATE orders SET reconcile_at = now() - interval '1 minute' WHERE id = ANY (?)", [due]);
    // Longest overdue are the paid ones; the time of payment of the second one is unknown.
    await db.query("UPDATE orders SET reconcile_at = now() - interval '1 hour' WHERE id = ANY (?)", [
      due.slice(2),
    ]);
    // Each EXPLAIN is rolled back, so all rows are due each time.
    const claiming = async (limit: number) => {
      let claimed: string[] = [];
      const claim = { bankId: BANK, leaseId: LEASE, leaseMs: 60_000, limit };
      const pages = await pagesOf(async (on) => {
        claimed = (await claimPolls(on, claim)).map(({ id }) => id).sort();
      });
      expect(pages).toBeLessThan(ONE_ORDER_PAGES * due.length);
      return claimed;
    };
    expect(await claiming(2)).toEqual(due.slice(0, 2));
    expect(await claiming(16)).toEqual(due.slice(0, 3));
    expect(await pagesOf((on) => dueBanks(on))).toBeLessThan(20);
    expect(await pagesOf((on) => countOverduePolls(on, 30_000))).toBeLessThan(60);
    expect(await countOverduePolls(db, 30_000)).toBe(3);
    expect(await pagesOf((on) => bookedPayments(on, orderId(50_000)))).toBeLessThan(30);
    await db.query("UPDATE orders SET reconcile_lease = ? WHERE id = ?", [LEASE, orderId(50_000)]);
    expect(await pagesOf((on) => endPoll(on, { id: orderId(50_000), leaseId: LEASE }, {}))).toBeLessThan(
      ONE_ORDER_PAGES,
    );
  });

  it("due refunds are found without reading completed ones", async () => {
    const claim = { bankId: BANK, leaseId: LEASE, leaseMs: 1, limit: 8 };
    expect(await pagesOf((on) => dueRefundBanks(on))).toBeLessThan(20);
    expect(await pagesOf((on) => claimRefunds(on, claim))).toBeLessThan(300);
    expect(await pagesOf((on) => findRefund(on, BANK, idOf("004", 50_000)))).toBeLessThan(20);
    expect(await pagesOf((on) => refundsOf(on, orderId(50_000)))).toBeLessThan(20);
    expect(await pagesOf((on) => receiptsOf(on, orderId(50_000)))).toBeLessThan(20);
  });

  it("the pool reads only ready orders", async () => {
    const [all] = (await db.query("SELECT relpages AS pages FROM pg_class WHERE relname = 'orders'")).rows;
    const from = { latitude: 46.5, longitude: 7.5 };
    expect(await pagesOf((on) => poolOrders(on, from, 20))).toBeLessThan(NEAREST_PAGES);
    expect(await pagesOf((on) => poolOrders(on, undefined, 20))).toBeLessThan(2_500);
    expect(Number(all.pages)).toBeGreaterThan(0);
    if (statistics === "stale") return;
    // Some partners have another setting than the platform.
    await db.query(
      "INSERT INTO partner_assignments (partner_id, assignment) SELECT gen_random_uuid(), 'offer' FROM generate_series(1, 50)",
    );
    expect(await pagesOf((on) => poolOrders(on, from, 20))).toBeLessThan(NEAREST_PAGES);
    expect(await pagesOf((on) => markPooled(on, false, 50))).toBeLessThan(ONE_ORDER_PAGES * 50);
  });

  it("the assignment to a deliverer reads the orders under way, and the couriers' page its couriers", async () => {
    await db.query(
      `INSERT INTO couriers (id, on_duty_since) SELECT ('00000000-0000-7000-8003-' || lpad(n::text, 12, '0'))::uuid,
         CASE WHEN n % 20 = 0 THEN now() END FROM generate_series(1, 2000) n ON CONFLICT DO NOTHING`,
    );
    // This deliverer has delivered 200 orders, and none is under way.
    expect(await pagesOf((on) => admissionOf(on, delivererId(5)))).toBeLessThan(ONE_ORDER_PAGES);
    const page = (on: Db) => couriersPage(on, { duty: "on", after: delivererId(40), limit: 20 });
    expect(await pagesOf(page)).toBeLessThan(ONE_ORDER_PAGES * 4);
    await db.query(
      "UPDATE couriers SET latitude = 46.5, longitude = 7.5, position_at = now() WHERE on_duty_since IS NOT NULL",
    );
    const nearest = (on: Db) => nearestCouriers(on, { latitude: 46.5, longitude: 7.5 }, 20);
    expect(await pagesOf(nearest)).toBeLessThan(ONE_ORDER_PAGES * 20);
  });

  it("the due offers read only what is due, and the best couriers are found near the partner", async () => {
    expect(await dueOffers(db, 50)).toEqual([orderId(50_003)]);
    expect(await pagesOf((on) => dueOffers(on, 50))).toBeLessThan(ONE_ORDER_PAGES * 2);
    await db.query(
      `INSERT INTO couriers (id, on_duty_since, latitude, longitude, position_at)
       SELECT gen_random_uuid(), now(), 46 + random(), 7 + random(), now() FROM generate_series(1, 2000)
       WHERE NOT EXISTS (SELECT FROM couriers WHERE latitude IS NOT NULL)`,
    );
    const wanted = { pickup: { latitude: 46.5, longitude: 7.5 }, tried: [], ordersMax: 20 };
    expect((await bestCouriers(db, wanted)).length).toBeGreaterThan(10);
    expect(await pagesOf((on) => bestCouriers(on, wanted))).toBeLessThan(ONE_ORDER_PAGES * 20);
  });

  it("a history, the stuck orders and the counts of open orders read only the rows they return", async () => {
    expect(await pagesOf((on) => listTransitions(on, orderId(50_003)))).toBeLessThan(20);
    expect(await pagesOf((on) => stuckOrders(on, 60_000, {}, 20))).toBeLessThan(60);
    expect(await pagesOf((on) => stuckGroups(on, 60_000, {}, "cause", 50))).toBeLessThan(60);
    expect(await pagesOf((on) => countOrders(on))).toBeLessThan(6_000);
  });
});
