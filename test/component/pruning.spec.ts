import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Knex } from "knex";
import { bankRow, deadLetterRows, orderRows } from "../../bench/lib/generate.ts";
import { isoTime } from "../../lib/clock.ts";
import { newId } from "../../lib/ids.ts";
import { prune, type Retention, retentionsOf } from "../../mixins/pruning/pruning.mixin.ts";
import { orderRetentions } from "../../services/orders/retention.ts";
import { createDatabase, openPool, type TestDatabase } from "../support/postgres.ts";

const DAY_MS = 86_400_000;
const ORDERS = 100;
const config = { KEEP_ORDERS_DAYS: 200, KEEP_HISTORY_DAYS: 100 };
const DEAD_LETTER_DAYS = 50;
const none = { find: async () => [], remove: async () => 0 } as never;

let database: TestDatabase;
let db: Knex;
let nowMs: number;
beforeAll(async () => {
  database = await createDatabase("orders");
  db = openPool(database, 2);
  nowMs = Date.now();
});
afterAll(async () => {
  await db.destroy();
  await database.drop();
});

const all = retentionsOf({
  keepDeadLettersDays: DEAD_LETTER_DAYS,
  retentions: orderRetentions(config, { history: none, payments: none }),
});
const count = async (table: string) => Number((await db.raw(`SELECT count(*) FROM ${table}`)).rows[0].count);
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
});

/** One order for each of the last hundred days, with all that Orders keeps of it. */
async function fill(): Promise<void> {
  const batch = { first: 1, count: ORDERS, since: "(now() - interval '100 days')", until: "now()" };
  const { orders, history, positions, keys } = orderRows(batch);
  await db.transaction(async (trx) => {
    await trx.raw("SET LOCAL session_replication_role = replica");
    for (const statement of [bankRow, ...orders, ...history, ...positions, ...keys]) await trx.raw(statement);
    for (const statement of deadLetterRows(batch, "orders")) await trx.raw(statement);
  });
}

describe("pruning, by the clock", () => {
  beforeAll(fill);

  it("today, removes what no longer serves anybody, and nothing of the business's own records", async () => {
    await prune(db, all, nowMs);
    const left = await counts();
    expect(left).toMatchObject({ orders: 100, lines: 200, receipts: 100, events: 100, transitions: 600 });
    expect([left.positions, left.keys, left.dead]).toEqual([7, 1, 50]);
  });

  it("in fifty days, removes half of the histories and no order", async () => {
    await prune(db, all, nowMs + 50 * DAY_MS);
    expect(await counts()).toMatchObject({
      orders: 100,
      transitions: 300,
      callbacks: 100,
      positions: 0,
      dead: 0,
    });
  });

  it("of a history, is all that may remove a row", async () => {
    const removal = db.raw("DELETE FROM order_transitions");
    await expect(removal).rejects.toThrow("the rows of order_transitions are never changed");
    await expect(db.raw("UPDATE order_transitions SET reason = 'none'")).rejects.toThrow("never changed");
  });

  it("in 150 days, removes half of the orders with all of theirs, but one whose refund is under way and one that is open", async () => {
    const [first, second] = (await db.raw("SELECT id FROM orders ORDER BY id LIMIT 2")).rows;
    await db.raw(
      `INSERT INTO refunds (id, order_id, bank_id, payment_id, amount_minor, currency, reason)
       SELECT ?, order_id, bank_id, payment_id, 100, 'EUR', 'late' FROM payment_receipts WHERE order_id = ?`,
      [newId(), first.id],
    );
    await db.raw("UPDATE orders SET status = 'failed', closed_at = NULL, deadline_at = now() WHERE id = ?", [
      second.id,
    ]);
    await prune(db, all, nowMs + 150 * DAY_MS);
    expect(await counts()).toMatchObject({
      orders: 52,
      lines: 104,
      receipts: 52,
      events: 50,
      transitions: 0,
    });
  });

  it("of a store that fails, removes those of the others, and says so", async () => {
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
