import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import {
  bankRow,
  deadLetterRows,
  logRows,
  notificationRows,
  orderRows,
  partnerRows,
  unmatchedRows,
} from "../../bench/lib/generate.ts";
import { isoTime } from "../../lib/clock.ts";
import { newId } from "../../lib/ids.ts";
import type { Database } from "../../lib/sql/database.ts";
import { pruneInbox } from "../../mixins/consumer/inbox.repository.ts";
import { pruneOutbox } from "../../mixins/outbox/outbox.repository.ts";
import {
  type Pruned,
  prune,
  type Retention,
  retentionGauges,
  retentionsOf,
} from "../../mixins/pruning/pruning.mixin.ts";
import { notificationRetentions } from "../../services/notifications/workers/retention.ts";
import { orderRetentions } from "../../services/orders/workers/retention.ts";
import { partnerRetentions } from "../../services/partners/workers/retention.ts";
import { createDatabase, openPool, type TestDatabase } from "../support/postgres.ts";

const DAY_MS = 86_400_000;
const ORDERS = 100;
const config = {
  ...{ KEEP_ORDERS_DAYS: 200, KEEP_HISTORY_DAYS: 100 },
  ...{ KEEP_CUSTOMER_DATA_DAYS: 50, KEEP_POSITIONS_DAYS: 7 },
};
const DEAD_LETTER_DAYS = 50;
const none = { find: async () => [], remove: async () => 0 } as never;

let database: TestDatabase;
let db: Database;
let nowMs: number;
beforeAll(async () => {
  database = await createDatabase("orders");
  db = openPool(database, 2);
  nowMs = Date.now();
});
afterAll(async () => {
  await db.close();
  await database.drop();
});

const all = retentionsOf({
  keepDeadLettersDays: DEAD_LETTER_DAYS,
  retentions: orderRetentions(config, { history: none, payments: none }),
});
const count = async (table: string) =>
  Number((await db.query(`SELECT count(*) FROM ${table}`)).rows[0].count);
const counts = async () => ({
  orders: await count("orders"),
  lines: await count("order_lines"),
  receipts: await count("payment_receipts"),
  events: await count("payment_events"),
  transitions: await count("order_transitions"),
  callbacks: await count("partner_callbacks"),
  positions: await count("order_positions"),
  keys: await count("idempotency_keys"),
  dead: await count("inbox WHERE state = 'dead'"),
  named: await count("orders WHERE customer_name <> 'Erased' AND address ->> 'line1' <> 'Erased'"),
});

/** One order for each of the last hundred days, with all that Orders keeps of it. */
async function fill(): Promise<void> {
  const batch = { first: 1, count: ORDERS, since: "(now() - interval '100 days')", until: "now()" };
  const { orders, lines, history, positions, keys } = orderRows(batch);
  await db.transaction(async (trx) => {
    await trx.query("SET LOCAL session_replication_role = replica");
    for (const statement of [bankRow, ...orders, ...lines, ...history, ...positions, ...keys])
      await trx.query(statement);
    for (const statement of deadLetterRows(batch, "orders")) await trx.query(statement);
  });
}

describe("pruning, by the clock", () => {
  beforeAll(fill);

  it("today, deletes expired data, and no business records", async () => {
    const pruned: Pruned = { rows: {}, oldestMs: {} };
    await prune(db, all, nowMs, undefined, pruned);
    const left = await counts();
    expect(left.named).toBe(50);
    expect(pruned.rows).toMatchObject({ orders: 0, "orders (customer)": 50, order_positions: 93 });
    const gauges = retentionGauges(pruned, { now: () => nowMs });
    const ages = (await gauges.retention_oldest_age_seconds?.read()) as Record<string, number>;
    const days = (store: string) => Math.round((ages[store] ?? 0) / 86_400);
    expect([days("orders"), days("orders (customer)"), days("order_positions")]).toEqual([100, 50, 7]);
    expect(gauges.retention_rows_total?.read()).toBe(pruned.rows);
    expect(left).toMatchObject({ orders: 100, lines: 200, receipts: 100, events: 100, transitions: 600 });
    expect([left.positions, left.keys, left.dead]).toEqual([7, 1, 50]);
  });

  it("in fifty days, deletes half of the histories and no order", async () => {
    await prune(db, all, nowMs + 50 * DAY_MS);
    expect(await counts()).toMatchObject({
      orders: 100,
      transitions: 300,
      callbacks: 100,
      positions: 0,
      dead: 0,
    });
  });

  it("of a history, is the only permitted deletion of a row", async () => {
    const removal = db.query("DELETE FROM order_transitions");
    await expect(removal).rejects.toThrow("the rows of order_transitions are never changed");
    await expect(db.query("UPDATE order_transitions SET reason = 'none'")).rejects.toThrow("never changed");
  });

  it("in 150 days, deletes half of the orders with all their data, but not one with a pending refund and an open one", async () => {
    const [first, second] = (await db.query("SELECT id FROM orders ORDER BY id LIMIT 2")).rows;
    await db.query(
      `INSERT INTO refunds (id, order_id, bank_id, payment_id, amount_minor, currency, reason)
       SELECT ?, order_id, bank_id, payment_id, 100, 'EUR', 'late' FROM payment_receipts WHERE order_id = ?`,
      [newId(), first.id],
    );
    await db.query(
      "UPDATE orders SET status = 'failed', closed_at = NULL, deadline_at = now() WHERE id = ?",
      [second.id],
    );
    await prune(db, all, nowMs + 150 * DAY_MS);
    expect(await counts()).toMatchObject({
      orders: 52,
      lines: 104,
      receipts: 52,
      events: 50,
      transitions: 0,
    });
  });

  it("of a store that fails, deletes the rows of the others, and logs it", async () => {
    const done: string[] = [];
    const store = (name: string, fails: boolean): Retention => ({
      store: name,
      keepDays: 1,
      async prune(_, { at }) {
        if (fails) throw new Error(`${name} is locked`);
        done.push(`${name} before ${at}`);
        return 0;
      },
    });
    const pruning = prune(db, [store("one", true), store("other", false)], nowMs);
    await expect(pruning).rejects.toThrow("one is locked");
    expect(done).toEqual([`other before ${isoTime(nowMs - DAY_MS)}`]);
  });
});

/** The column with the age of a row, and the rows that may be deleted. */
const AGES: Record<string, [table: string, column: string, which?: string]> = {
  idempotency_keys: ["idempotency_keys", "created_at"],
  "inbox, dead letters": ["inbox", "dead_letter_id", "state = 'dead'"],
  "inbox, done": ["inbox", "message_id", "state = 'done'"],
  outbox: ["outbox", "sent_at"],
  order_positions: ["order_positions", "order_id"],
  event_log: ["event_log", "created_at"],
  partner_callbacks: ["partner_callbacks", "order_id"],
  order_transitions: ["order_transitions", "order_id"],
  orders: ["orders", "id"],
  "orders (customer)": ["orders", "closed_at", "closed_at IS NOT NULL AND erased_at IS NULL"],
  payment_events: ["payment_events", "created_at"],
  payment_receipts: ["payment_receipts", "id", "outcome = 'unmatched'"],
  disputes: ["disputes", "id"],
  stock_reservations: ["stock_reservations", "updated_at"],
  webhook_deliveries: ["webhook_deliveries", "id", "state = 'dead'"],
  webhook_messages: ["webhook_messages", "created_at"],
  notifications: ["notifications", "id"],
  known_orders: ["known_orders", "order_id"],
  ended_sessions: ["ended_sessions", "created_at"],
  recipients: ["recipients", "deleted_at"],
};
const FUTURE = { at: "2100-01-01T00:00:00.000Z", id: "ffffffff-ffff-ffff-ffff-ffffffffffff" };
const ofEveryService: Retention[] = [
  { store: "inbox, done", keepDays: 14, prune: (db, { id }, limit) => pruneInbox(db, id, limit) },
];
/** Its statement gets an age and reads the clock itself: an hour is more than the two clocks can differ. */
const outbox: Retention = {
  ...{ store: "outbox", keepDays: 7 },
  prune: (db, { at }, limit) => pruneOutbox(db, Date.now() - Date.parse(at) + 3_600_000, limit),
};
const services: [name: "orders" | "partners" | "notifications", retentions: Retention[]][] = [
  ["orders", [...orderRetentions(config, { history: none, payments: none }), outbox]],
  ["partners", partnerRetentions(DEAD_LETTER_DAYS)],
  ["notifications", [...notificationRetentions({ ...config, KEEP_NOTIFICATIONS_DAYS: 90 }, none), outbox]],
];

describe.each(services)("each pruner of %s", (service, retentions) => {
  let own: TestDatabase;
  let pool: Database;
  beforeAll(async () => {
    own = await createDatabase(service);
    pool = openPool(own, 3);
    // Every hundredth webhook is a dead letter.
    const batch = { first: 98, count: 6, since: "(now() - interval '100 days')", until: "now()" };
    const rows = orderRows(batch);
    const filling = {
      orders: [
        ...[bankRow, ...rows.orders, ...rows.history, ...rows.positions, ...rows.messages],
        ...unmatchedRows(batch),
        `INSERT INTO disputes (id, bank_id, dispute_id, payment_id, amount_minor, currency, reason, state, withdrawn,
           reported_at)
         SELECT id, bank_id, 'd' || payment_id, payment_id, 100, 'EUR', 'fraudulent', 'lost', true, now()
         FROM payment_receipts WHERE order_id IS NULL`,
        logRows(6, "1 day"),
      ],
      partners: Object.values(partnerRows(batch)).flat(),
      notifications: [
        ...notificationRows(batch).orders,
        ...notificationRows(batch).messages,
        `INSERT INTO recipients (user_id, version, deleted_at)
         SELECT gen_random_uuid(), 1, now() - n * interval '1 day' FROM generate_series(1, 6) n`,
        `INSERT INTO ended_sessions (session_id, user_id, created_at)
         SELECT gen_random_uuid(), gen_random_uuid(), now() - n * interval '1 day' FROM generate_series(1, 6) n`,
      ],
    };
    await pool.transaction(async (trx) => {
      await trx.query("SET LOCAL session_replication_role = replica");
      const common = [...rows.keys, ...deadLetterRows(batch, service)];
      for (const statement of [...filling[service], ...common]) await trx.query(statement);
    });
  });
  afterAll(async () => {
    await pool.close();
    await own.drop();
  });

  const stores = retentionsOf({ keepDeadLettersDays: DEAD_LETTER_DAYS, retentions })
    .concat(ofEveryService)
    .filter(({ store }) => !store.startsWith("documents."));

  const nameOf = ({ store, part }: Retention) => (part ? `${store} (${part})` : store);
  it.each(stores.map((one) => [nameOf(one), one] as const))(
    "%s: keeps newer rows, and deletes the oldest unlocked ones",
    async (store, { prune, oldest: shownOldest }) => {
      const [table, column, which = "true"] = AGES[store] as [string, string, string?];
      const ages = async (): Promise<string[]> => {
        const sql = `SELECT ${column}::text AS age FROM ${table} WHERE ${which} ORDER BY ${column}`;
        return (await pool.query(sql)).rows.map(({ age }: { age: string }) => age);
      };
      const before = await ages();
      const [oldest = "", next] = new Set(before);
      // The webhooks that are left have attempts that wait or are dead.
      const found = await shownOldest?.(pool);
      if (store !== "webhook_messages" && shownOldest) {
        const same = column.endsWith("_at") ? Date.parse(found ?? "") - Date.parse(oldest) : found === oldest;
        expect(same).toBe(column.endsWith("_at") ? 0 : true);
      }
      await prune(pool, column.endsWith("_at") ? { ...FUTURE, at: oldest } : { ...FUTURE, id: oldest }, 10);
      expect(await ages()).toEqual(before);
      await pool.transaction(async (other) => {
        await other.query(`SELECT 1 FROM ${table} WHERE ${column} = ? AND ${which} FOR UPDATE`, [oldest]);
        expect(await prune(pool, FUTURE, 1)).toBe(1);
      });
      const left = before.toSpliced(before.indexOf(next as string), 1);
      expect(await ages()).toEqual(left);
    },
  );
});
