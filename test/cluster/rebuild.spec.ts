import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { resolve } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { ServiceBroker } from "moleculer";
import { newId } from "../../lib/ids.ts";
import { Database } from "../../lib/sql/database.ts";
import { documentStoreLocation } from "../../mixins/documents/store-location.ts";
import { type Postgres, postgres } from "../../mixins/postgres/postgres.mixin.ts";
import {
  type NotificationDocument,
  notificationDocuments,
} from "../../services/notifications/projections/history.ts";
import { historyId, type Projections, receiptId } from "../../services/orders/projections/order-documents.ts";
import { orderProjections } from "../../services/orders/projections/projections.ts";
import { type Ferretdb, startFerretdb } from "../servers/ferretdb.ts";
import { eventually } from "../support/eventually.ts";
import {
  ACQUIRE_TIMEOUT_MS,
  createDatabase,
  patientSettings,
  type TestDatabase,
} from "../support/postgres.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const ORDERS = 5_000;
const LINES = 4;
const REFUNDS = 500;
/** Messages that become documents beside a rebuild. */
const MEANWHILE = 200;
/** Half a minute on two busy cores; on quiet ones it takes a few seconds. */
const REBUILD_MS = 40_000;
const BANK = newId();

let server: Ferretdb;
let orders: TestDatabase;
let people: TestDatabase;
let loader: Database;
let db: Postgres;
let peoplesDb: Postgres;
let projections: Projections;
let notifications: ReturnType<typeof notificationDocuments>;
let broker: ServiceBroker;
let env: Record<string, string>;

beforeAll(async () => {
  [server, orders, people] = await Promise.all([
    startFerretdb(),
    createDatabase("orders"),
    createDatabase("notifications"),
  ]);
  loader = new Database({
    ...{ url: orders.url, poolSize: 1, acquireTimeoutMs: ACQUIRE_TIMEOUT_MS, applicationName: "loader" },
  });
  await load(loader);
  env = {
    NODE_ENV: "test",
    NAMESPACE: "rebuilt",
    DATA_DIR: "/nonexistent",
    MONGO_URL: server.url,
    POSTGRES_URL_ORDERS: orders.url,
    POSTGRES_URL_NOTIFICATIONS: people.url,
  };
  const place = documentStoreLocation(
    { MONGO_URL: server.url, NAMESPACE: "rebuilt", ...patientSettings },
    orders.url,
  );
  const pool = (url: string) =>
    postgres({ url, poolSize: 4, acquireTimeoutMs: ACQUIRE_TIMEOUT_MS, name: "test" });
  db = pool(orders.url);
  peoplesDb = pool(people.url);
  projections = orderProjections(db, place);
  notifications = notificationDocuments(peoplesDb, place);
  broker = new ServiceBroker({ logger: false, skipProcessEventRegistration: true });
  const { history, payments } = projections;
  broker.createService({ name: "orders", mixins: [db.mixin, history.mixin, payments.mixin] });
  broker.createService({ name: "notifications", mixins: [peoplesDb.mixin, notifications.mixin] });
  await broker.start();
});
afterAll(async () => {
  await broker.stop();
  await loader.close();
  await Promise.all([orders.drop(), people.drop(), server.stop()]);
});

/** The rows that a rebuild reads, of orders that need not be there otherwise. */
async function load(loading: Database): Promise<void> {
  await loading.query("SET session_replication_role = replica");
  await loading.query("SET statement_timeout = '60s'");
  await loading.query(
    `INSERT INTO order_transitions (id, order_id, version, type, from_status, to_status, actor, reason)
     SELECT gen_random_uuid(), ('00000000-0000-7000-8000-' || lpad(o::text, 12, '0'))::uuid, v, 'order.paid',
       CASE WHEN v > 1 THEN 'pending' END, 'paid', 'bank:sandbox', CASE WHEN v = 2 THEN 'because' END
     FROM generate_series(1, ?) AS o, generate_series(1, ?) AS v`,
    [ORDERS, LINES],
  );
  await loading.query(
    `INSERT INTO payment_receipts (id, bank_id, payment_id, event_id, order_id, stated_order, amount_minor, currency,
       outcome)
     SELECT gen_random_uuid(), ?, 'pay-' || o, 'event-' || o,
       ('00000000-0000-7000-8000-' || lpad(o::text, 12, '0'))::uuid, 'x', 1250, 'EUR', 'accepted'
     FROM generate_series(1, ?) AS o`,
    [BANK, ORDERS],
  );
  await loading.query(
    `INSERT INTO refunds (id, order_id, bank_id, payment_id, amount_minor, currency, reason, state)
     SELECT gen_random_uuid(), order_id, bank_id, payment_id, 250, currency, 'late',
       CASE WHEN row_number() OVER () % 2 = 0 THEN 'completed' ELSE 'pending' END
     FROM payment_receipts LIMIT ?`,
    [REFUNDS * 2],
  );
}

function begin(...words: string[]): ChildProcess {
  return spawn(process.execPath, ["platform/commands/rebuild.ts", ...words], {
    cwd: ROOT,
    env: { PATH: process.env.PATH, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
}

async function rebuild(...words: string[]) {
  const startedMs = performance.now();
  const child = begin(...words);
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout as NodeJS.ReadableStream),
    text(child.stderr as NodeJS.ReadableStream),
    once(child, "exit"),
  ]);
  return { stdout, stderr, code, ms: performance.now() - startedMs };
}

async function idsIn(documents: { batches(size: number): AsyncIterable<{ _id: string }[]> }) {
  const ids = new Set<string>();
  for await (const batch of documents.batches(500)) for (const { _id } of batch) ids.add(_id);
  return ids;
}

const orderId = (number: number) => `00000000-0000-7000-8000-${String(number).padStart(12, "0")}`;

describe("npm run rebuild on a cluster's stores", () => {
  it("killed in the middle and started again, restores the history of 5,000 orders in seconds", async () => {
    const { history } = projections;
    const killed = begin("history");
    await eventually(async () => expect(await history.count()).toBeGreaterThan(1_000), {
      timeoutMs: REBUILD_MS,
    });
    killed.kill("SIGKILL");
    await once(killed, "exit");
    const half = await history.count();
    expect(half).toBeLessThan(ORDERS * LINES);

    const { stdout, code, ms } = await rebuild("history");
    expect({ stdout, code }).toEqual({ stdout: `order_history: ${ORDERS * LINES} documents\n`, code: 0 });
    expect(ms).toBeLessThan(REBUILD_MS);
    process.stderr.write(`rebuild of ${ORDERS * LINES - half} documents: ${Math.round(ms)} ms\n`);
    expect((await idsIn(history)).size).toBe(ORDERS * LINES);
    expect(await history.get(historyId(orderId(7), 2))).toMatchObject({
      orderId: orderId(7),
      version: 2,
      from: "pending",
      to: "paid",
      reason: "because",
    });
  });

  it("corrects wrong documents, removes unknown ones, and keeps those written meanwhile", async () => {
    const { history } = projections;
    const wrong = historyId(orderId(9), 1);
    const missing = historyId(orderId(10), 1);
    const was = (await history.get(wrong)) as object;
    await history.put({ ...was, to: "cancelled", stray: true } as never);
    await history.remove({ _id: missing });
    const strays = Array.from({ length: 20 }, (_, i) => ({ _id: newId(), orderId: newId(), version: i + 1 }));
    await history.insert(...(strays as never[]));

    // As messages do: the row is committed, then its document written.
    const come: string[] = [];
    let over = false;
    const messages = (async () => {
      for (let version = 1; !over && version <= MEANWHILE; version++) {
        const order = orderId(1_000_000 + version);
        await loader.query(
          `INSERT INTO order_transitions (id, order_id, version, type, to_status, actor)
           VALUES (?, ?, 1, 'order.created', 'pending', 'somebody')`,
          [newId(), order],
        );
        const _id = historyId(order, 1);
        const facts = {
          type: "order.created",
          at: new Date().toISOString(),
          to: "pending",
          actor: "somebody",
        };
        await history.insert({ _id, orderId: order, version: 1, ...facts } as never);
        come.push(_id);
      }
    })();
    const { code, ms } = await rebuild("order_history");
    over = true;
    await messages;
    expect(code).toBe(0);
    process.stderr.write(`rebuild of what is there: ${Math.round(ms)} ms, ${come.length} came meanwhile\n`);
    expect(come.length).toBeGreaterThan(5);
    const ids = await idsIn(history);
    expect(come.filter((id) => !ids.has(id))).toEqual([]);
    expect(strays.filter(({ _id }) => ids.has(_id))).toEqual([]);
    expect(ids.has(missing)).toBe(true);
    expect(ids.size).toBe(ORDERS * LINES + come.length);
    const right = await history.get(wrong);
    expect(right).toMatchObject({ to: "paid" });
    expect(right).not.toHaveProperty("stray");
  });

  it("restores receipts and completed refunds, and no others", async () => {
    const { payments } = projections;
    const { stdout, stderr, code } = await rebuild("payments");
    expect({ stdout, code }).toEqual({ stdout: `payments: ${ORDERS + REFUNDS} documents\n`, code: 0 });
    expect(stderr.replace(/^payments: \d+ looked at\n/gm, "")).toBe("");
    expect(await payments.count({ kind: "refund" })).toBe(REFUNDS);
    const receipt = await payments.get(receiptId(BANK, "pay-3"));
    expect(receipt).toMatchObject({
      bankId: BANK,
      paymentId: "pay-3",
      amount: { amountMinor: 1250, currency: "EUR" },
    });
    expect(receipt).not.toHaveProperty("reason");
  });

  it("restores final notifications, and none of a user who is deleted meanwhile", async () => {
    const stays = newId();
    const goes = newId();
    const insert = (userId: string, state: string) =>
      peoplesDb.db.query(
        `INSERT INTO notifications (id, message_id, addressee, user_id, event, title, body, state, passes)
         VALUES (?, ?, ?, ?, 'order.paid', 'Paid', 'It is paid', ?, 1)`,
        [newId(), newId(), userId, userId, state],
      );
    for (let i = 0; i < 30; i++) await insert(i % 2 ? stays : goes, i < 20 ? "sent" : "pending");
    expect(await rebuild("notifications")).toMatchObject({
      code: 0,
      stdout: "notifications: 20 documents\n",
    });
    await peoplesDb.db.query("DELETE FROM notifications WHERE user_id = ?", [goes]);
    expect(await rebuild("notifications")).toMatchObject({
      code: 0,
      stdout: "notifications: 10 documents\n",
    });
    const left: NotificationDocument[] = [];
    for await (const batch of notifications.batches(100)) left.push(...batch);
    expect(left.map(({ userId }) => userId)).toEqual(Array.from({ length: 10 }, () => stays));
  });

  it("without its store, exits with 69 and the reason; for an unknown name, lists the names", async () => {
    const { MONGO_URL } = env;
    env.MONGO_URL = "mongodb://127.0.0.1:9/";
    const { code, stderr } = await rebuild("payments");
    env.MONGO_URL = MONGO_URL as string;
    expect({ code, stderr }).toEqual({ code: 69, stderr: "The document store cannot be reached.\n" });
    expect(await rebuild("everything")).toMatchObject({
      code: 64,
      stderr: "npm run rebuild -- history|payments|order_history|notifications\n",
    });
  });
});
