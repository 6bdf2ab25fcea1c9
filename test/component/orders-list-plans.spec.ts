import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Database, Db } from "../../lib/sql/database.ts";
import type { Owner } from "../../services/orders/store/order-lists.repository.ts";
import {
  findOrders,
  matchingOrders,
  type OrderFilter,
} from "../../services/orders/store/order-search.repository.ts";
import { LOAD_TIMEOUT_MS, PLAN_ROWS, type PlanBench, planBench } from "../support/plans.ts";

/** Half of the large size: a million in `npm run test:plans`. */
const ROWS = PLAN_ROWS / 2;
/** The size of the tables when their old statistics were made. */
const SMALL = 1_000;
const LIMIT = 21;
/** A page of each combination of state and payment status, and all open orders of a state: one in a thousand. */
const PAGE_ROWS = 1_500 + ROWS / 200;
const START_MS = Date.parse("2026-01-01T00:00:00Z");
const STEP_MS = 10_000;

let bench: PlanBench;
let db: Database;

/** An id of the moment of the order with this number, as newId makes them. */
const orderId = (n: string) =>
  `(lpad(to_hex(${START_MS}::bigint + (${n}) * ${STEP_MS}::bigint), 12, '0') || '70008000' || lpad((${n})::text, 12, '0'))::uuid`;
const idOf = (kind: string, n: string) =>
  `('00000000-0000-7000-8${kind}-' || lpad((${n})::text, 12, '0'))::uuid`;
const partnerId = "00000000-0000-7000-8002-000000000007";
const customerId = "00000000-0000-7000-8001-000000000007";
const delivererId = "00000000-0000-7000-8003-000000000007";
const timeOf = (n: number) => new Date(START_MS + n * STEP_MS).toISOString();

beforeAll(async () => {
  bench = await planBench("orders");
  db = bench.db;
  await load(1, SMALL);
  await bench.analyze();
  await load(SMALL + 1, ROWS);
}, LOAD_TIMEOUT_MS);
afterAll(() => bench.stop());

/** One partner has half of all orders; one order in a thousand has not ended, and few are cancelled or refunded. */
async function load(first: number, last: number): Promise<void> {
  await bench.load(
    `INSERT INTO orders (id, version, status, payment_status, customer_id, customer_name, customer_phone, partner_id,
       partner, deliverer_id, currency, fee_minor, total_minor, paid_minor, address, bank_id, pay_by, deadline_at,
       closed_at, created_at, updated_at)
     SELECT ${orderId("n")}, 3, status, CASE WHEN status IN ('pending', 'expired') THEN 'unpaid'
         WHEN n % 2000 = 9 THEN 'refunded' ELSE 'paid' END,
       ${idOf("001", "n % 1000")}, 'Anna Name' || n, '+4915' || lpad(n::text, 8, '0'),
       ${idOf("002", "CASE WHEN n % 2 = 0 THEN 7 ELSE n % 100 END")}, '{"title": "Bakery", "pickup": {}}',
       CASE WHEN status IN ('delivered', 'delivering') THEN ${idOf("003", "n % 500")} END,
       'EUR', 300, 1000, CASE WHEN status IN ('pending', 'expired') THEN 0 ELSE 1000 END, '{}', ${idOf("004", "1")},
       now(), CASE WHEN ended THEN NULL ELSE now() END, CASE WHEN ended THEN now() END,
       '${timeOf(0)}'::timestamptz + n * interval '${STEP_MS} milliseconds', now()
     FROM (SELECT n, status, status IN ('delivered', 'cancelled', 'expired') AS ended FROM (
       SELECT n, CASE WHEN n % 1000 = 1 THEN 'pending' WHEN n % 1000 = 3 THEN 'ready' WHEN n % 3000 = 6 THEN 'cancelled'
         WHEN n % 20 = 5 THEN 'expired' ELSE 'delivered' END AS status
       FROM generate_series(${first}, ${last}) n) AS one) AS made`,
    `INSERT INTO order_search (order_id, words)
     SELECT ${orderId("n")}, search_lexemes('Anna Name' || n || ' +4915' || lpad(n::text, 8, '0'))
       || array_to_tsvector(ARRAY[':' || ${idOf("002", "CASE WHEN n % 2 = 0 THEN 7 ELSE n % 100 END")}])
     FROM generate_series(${first}, ${last}) n`,
  );
}

const operator: Owner = { role: "admin" };
const staff: Owner = { role: "partner", partnerId, id: customerId };
const filters: [string, Owner, OrderFilter][] = [
  ["an operator's delivered", operator, { statuses: ["delivered"] }],
  ["an operator's rare state", operator, { statuses: ["cancelled"] }],
  ["an operator's state that no order has", operator, { statuses: ["failed"] }],
  ["an operator's combination that no order has", operator, { statuses: ["expired"], paymentStatus: "paid" }],
  ["an operator's rare payment status", operator, { paymentStatus: "refunded" }],
  ["an operator's list of states", operator, { statuses: ["ready", "pending", "cancelled"] }],
  ["an operator's open", operator, { statuses: ["ready"] }],
  ["an operator's of a partner", operator, { partnerId }],
  ["an operator's rare state of a partner", operator, { partnerId, statuses: ["cancelled"] }],
  ["an operator's open of a partner", operator, { partnerId, statuses: ["delivering", "ready"] }],
  ["an operator's of a customer", operator, { customerId, statuses: ["delivered"] }],
  ["an operator's of a deliverer", operator, { delivererId, paymentStatus: "paid" }],
  ["an operator's of an early day", operator, { from: timeOf(2_000), to: timeOf(3_000) }],
  [
    "an operator's expired of an early day",
    operator,
    { from: timeOf(2_000), to: timeOf(3_000), statuses: ["expired"] },
  ],
  ["a partner's of an early day", staff, { from: timeOf(2_000), to: timeOf(3_000) }],
  ["a partner's rare state", staff, { statuses: ["cancelled"] }],
  ["a partner's rare payment status", staff, { paymentStatus: "refunded" }],
  [
    "a partner's combination that no order has",
    staff,
    { statuses: ["expired"], paymentStatus: "refund_failed" },
  ],
];

describe.each(["stale", "fresh"])("among many orders, with %s statistics", (statistics) => {
  beforeAll(async () => {
    if (statistics === "fresh") await bench.analyze();
  }, LOAD_TIMEOUT_MS);

  it.each(filters)("a page of %s orders reads only the rows of the page", async (_, owner, filter) => {
    await bench.expectRows((on: Db) => findOrders(on, owner, { ...filter, limit: LIMIT }), PAGE_ROWS);
    const [last] = (await findOrders(db, owner, { ...filter, limit: LIMIT })).slice(-1);
    if (!last) return;
    const next = (on: Db) => findOrders(on, owner, { ...filter, before: last.id, limit: LIMIT });
    await bench.expectRows(next, PAGE_ROWS);
  });

  it("a search by name and number reads the orders that match, of the own partner only", async () => {
    // The last numbers begin no longer ones.
    const [n, other] = [ROWS, ROWS - 1];
    const search = (text: string, partner?: string) => matchingOrders(db, text, partner);
    expect(await search(`name${n} anna`)).toHaveLength(1);
    expect(await search(`+4915${String(n).padStart(8, "0")}`, partnerId)).toHaveLength(1);
    expect(await search(`anna name${other}`, partnerId)).toEqual([]);
    await bench.expectRows((on) => matchingOrders(on, `anna name${n}`, partnerId), 60);
    const ids = await search(`name${n}`);
    await bench.expectRows((on) => findOrders(on, operator, { ids, limit: LIMIT }), 200);
  });
});
