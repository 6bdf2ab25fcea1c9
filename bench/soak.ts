/**
 * `node bench/soak.ts [--orders 1000000] [--months 24]`: the remaining data of a million orders after 24 months.
 *
 * It generates the rows month by month and runs every pruner with the time of the month's end. Then it starts the
 * platform on these databases and measures start, memory and reads. The figures are written to bench/results/.
 */
import { readFileSync } from "node:fs";
import type { Agent } from "node:http";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { firstIdAt } from "../lib/ids.ts";
import { INBOX_RETENTION_MS, OUTBOX_RETENTION_MS } from "../lib/messaging/retention.ts";
import { readSettings } from "../lib/settings/settings.ts";
import { Database } from "../lib/sql/database.ts";
import { pruneInbox } from "../mixins/consumer/inbox.repository.ts";
import { postgresStore } from "../mixins/documents/postgres-store.ts";
import { pruneOutbox } from "../mixins/outbox/outbox.repository.ts";
import { prune, type Retention, retentionsOf } from "../mixins/pruning/pruning.mixin.ts";
import { startPostgres } from "../platform/embedded-postgres.ts";
import { notificationRetentions } from "../services/notifications/workers/retention.ts";
import { orderRetentions } from "../services/orders/workers/retention.ts";
import { partnerRetentions } from "../services/partners/workers/retention.ts";
import { type Batch, bankRow, notificationRows, orderRows, partnerRows } from "./lib/generate.ts";
import { drive, send } from "./lib/load.ts";
import { startPeers } from "./lib/peers.ts";
import { newDataDir, removeDataDir, startPlatform } from "./lib/platform.ts";
import { residentMegabytes } from "./lib/process.ts";
import { keep, type Row, tableOf } from "./lib/report.ts";
import { makeWorld } from "./lib/world.ts";

const MONTH_MS = (365.25 / 12) * 86_400_000;
/** The last months have all their messages. Of the others, whose messages are pruned anyway, a tenth has some. */
const WHOLE_MONTHS = 2;
const READERS = 8;
const READ_MS = 20_000;
const IDLE_MS = 10_000;
const PRUNE_BATCH = 2_000;
const TRIES = 100;
const names = ["orders", "partners", "notifications"] as const;
type Name = (typeof names)[number];

const { values } = parseArgs({
  options: { orders: { type: "string", default: "1000000" }, months: { type: "string", default: "24" } },
});
const ORDERS = Number(values.orders);
const MONTHS = Number(values.months);
const megabytes = (bytes: number) => Math.round(Number(bytes) / 2 ** 20);
const say = (line: string) => process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${line}\n`);

const dataDir = newDataDir();
try {
  const rows = [...(await fill()), ...(await serve())];
  console.log(tableOf(rows));
  console.log(keep(rows));
} finally {
  removeDataDir(dataDir);
}

/** Generates the rows of all months and prunes at each month's end. @returns the remaining megabytes per store */
async function fill(): Promise<Row[]> {
  await (await startPlatform(dataDir)).stop(); // creates the databases
  const server = await startPostgres({ dataDir });
  const open = (name: Name) =>
    new Database({
      ...{ url: server.url(name), poolSize: 2, acquireTimeoutMs: 60_000, applicationName: "soak" },
      synchronousCommit: false,
    });
  const databases = Object.fromEntries(names.map((name) => [name, open(name)])) as Record<Name, Database>;
  const collection = (name: Name, what: string) =>
    postgresStore({
      collection: what,
      logger: console as never,
      postgres: { url: server.url(name), acquireTimeoutMs: 60_000 },
    });
  const stores = [
    collection("orders", "order_history"),
    collection("orders", "payments"),
    collection("notifications", "notifications"),
  ] as const;
  for (const store of stores) await store.connect();
  const config = readSettings({});
  const keepDeadLettersDays = config.KEEP_DEAD_LETTERS_DAYS;
  const of = (retentions: Retention[]) => retentionsOf({ keepDeadLettersDays, retentions });
  const retentions: Record<Name, Retention[]> = {
    orders: of(orderRetentions(config, { history: stores[0] as never, payments: stores[1] as never })),
    partners: of(partnerRetentions(keepDeadLettersDays)),
    notifications: of(notificationRetentions(config, stores[2] as never)),
  };
  try {
    await load(databases.orders, [bankRow]);
    const beginMs = Date.now() - MONTHS * MONTH_MS;
    const monthly = Math.ceil(ORDERS / MONTHS);
    for (let month = 0; month < MONTHS; month++) {
      const nowMs = beginMs + (month + 1) * MONTH_MS;
      const at = (ms: number) => `to_timestamp(${ms / 1000})`;
      const batch = {
        first: 1 + month * monthly,
        count: monthly,
        since: at(nowMs - MONTH_MS),
        until: at(nowMs),
      };
      const few: Batch = month < MONTHS - WHOLE_MONTHS ? { ...batch, count: Math.ceil(monthly / 10) } : batch;
      await Promise.all(
        names.map(async (name) => {
          await load(databases[name], rowsOf(name, batch, few));
          await patiently(() => prune(databases[name], retentions[name], nowMs));
          await patiently(() => pruneMessages(databases[name], nowMs));
        }),
      );
      const [total] = await Promise.all([
        totalBytes(databases),
        ...names.map((name) => load(databases[name], ["ANALYZE"])),
      ]);
      say(`month ${month + 1}: ${(month + 1) * monthly} orders, ${megabytes(total)} MB`);
    }
    for (const name of names) await load(databases[name], ["VACUUM (ANALYZE)"]);
    return (await Promise.all(names.map((name) => sizesOf(databases[name], name)))).flat();
  } finally {
    for (const store of stores) await store.disconnect();
    for (const name of names) await databases[name].close();
    await server.stop();
  }
}

function rowsOf(name: Name, batch: Batch, few: Batch): string[] {
  if (name === "partners") {
    const { orders, lines } = partnerRows(batch);
    return [...orders, ...lines, ...partnerRows(few).messages];
  }
  if (name === "notifications") {
    const { orders, documents } = notificationRows(batch);
    return [...orders, ...documents, ...notificationRows(few).messages];
  }
  const { orders, lines, history, positions, keys, documents } = orderRows(batch);
  return [...orders, ...lines, ...history, ...positions, ...keys, ...documents, ...orderRows(few).messages];
}

async function load(db: Database, statements: readonly string[]): Promise<void> {
  const connection = await db.acquire();
  try {
    await connection.query(
      "SET statement_timeout = 0; SET lock_timeout = 0; SET session_replication_role = replica",
    );
    for (const statement of statements) await connection.query(statement);
    await connection.query("RESET statement_timeout; RESET lock_timeout; RESET session_replication_role");
  } finally {
    connection.release();
  }
}

/** On a busy machine a statement may exceed its time limit, so it is repeated, as the platform does. */
async function patiently(work: () => Promise<void>): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (error) {
      if (tries === TRIES) throw error;
      say(String(error));
    }
  }
}

async function pruneMessages(db: Database, nowMs: number): Promise<void> {
  const outboxAgeMs = Date.now() - nowMs + OUTBOX_RETENTION_MS;
  while ((await pruneOutbox(db, outboxAgeMs, PRUNE_BATCH)) === PRUNE_BATCH);
  const before = firstIdAt(nowMs - INBOX_RETENTION_MS);
  while ((await pruneInbox(db, before, PRUNE_BATCH)) === PRUNE_BATCH);
}

async function sizesOf(db: Database, name: Name): Promise<Row[]> {
  const tables = await db.query(`
    SELECT nspname AS schema, relname AS table, pg_total_relation_size(c.oid) AS bytes
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind = 'r' AND nspname IN ('public', 'documents') AND pg_total_relation_size(c.oid) > 2 ^ 20
    ORDER BY bytes DESC`);
  return tables.rows.map(({ schema, table, bytes }: { schema: string; table: string; bytes: number }) => ({
    what: `${name}: ${schema === "documents" ? "documents." : ""}${table}, MB`,
    measured: megabytes(bytes),
  }));
}

async function totalBytes(databases: Record<Name, Database>): Promise<number> {
  const all = await Promise.all(
    names.map((name) => databases[name].query("SELECT pg_database_size(current_database()) AS bytes")),
  );
  return all.reduce((sum, { rows }) => sum + Number(rows[0].bytes), 0);
}

/** Starts the platform on the generated databases. */
async function serve(): Promise<Row[]> {
  say("Starting on what is left");
  const peers = await startPeers();
  const platform = await startPlatform(dataDir, { SMTP_URL: peers.smtpUrl });
  try {
    const world = await makeWorld(platform, peers, { partners: 1, products: 1, customers: 1 });
    await delay(IDLE_MS);
    const idleMegabytes = residentMegabytes(platform.pid);
    const [customer, ids] = await someOf(platform.dataDir, world.customerTokens[0] as string);
    const admin = await signIn(platform);
    const failures = new Map<string, number>();
    const reading = (path: () => string, token: string) => async (_: number, agent: Agent) => {
      const answer = await send(agent, platform.apiUrl + path(), {
        headers: { authorization: `Bearer ${token}` },
      });
      if (answer.status === 200 && answer.body.length > 100) return;
      failures.set(`${answer.status}`, (failures.get(`${answer.status}`) ?? 0) + 1);
      throw new Error(`${answer.status}`);
    };
    const history = () => `/orders/${ids[Math.floor(Math.random() * ids.length)]}/history`;
    const histories = await drive(READERS, { ms: READ_MS }, reading(history, admin));
    const notifications = await drive(
      READERS,
      { ms: READ_MS },
      reading(() => "/me/notifications", customer),
    );
    for (const [status, count] of failures) say(`${count} reads were answered ${status}`);
    return [
      { what: "reads that failed", measured: histories.errors + notifications.errors },
      { what: "start to ready, ms", measured: platform.readyAfterMs },
      { what: "idle memory of the one process, MB", measured: idleMegabytes },
      { what: "memory after the reads, MB", measured: residentMegabytes(platform.pid) },
      { what: "GET /orders/{id}/history a second", measured: histories.perSecond },
      { what: "the same, p99 in ms", measured: histories.p99Ms },
      { what: "GET /me/notifications a second", measured: notifications.perSecond },
      { what: "the same, p99 in ms", measured: notifications.p99Ms },
    ];
  } finally {
    await platform.stop();
    peers.stop();
  }
}

/** Gives the customer twenty notifications of others. @returns the token, and orders whose history is still kept */
async function someOf(dir: string, token: string): Promise<[string, string[]]> {
  const port = readFileSync(join(dir, "postgres/postmaster.pid"), "utf8").split("\n")[3];
  const password = readFileSync(join(dir, "postgres.password"), "utf8").trim();
  const at = (name: Name) =>
    new Database({
      url: `postgres://waybill:${encodeURIComponent(password)}@127.0.0.1:${port}/${name}`,
      ...{ poolSize: 1, acquireTimeoutMs: 10_000, applicationName: "soak" },
    });
  const [orders, notifications] = [at("orders"), at("notifications")];
  const { sub } = JSON.parse(Buffer.from(token.split(".")[1] as string, "base64url").toString());
  await notifications.query(
    `UPDATE documents.notifications SET document = jsonb_set(document, '{userId}', to_jsonb(?::text))
     WHERE id IN (SELECT id FROM documents.notifications ORDER BY id DESC LIMIT 20)`,
    [sub],
  );
  const found = await orders.query("SELECT id FROM orders ORDER BY id DESC LIMIT 10000");
  await Promise.all([orders.close(), notifications.close()]);
  return [token, found.rows.map(({ id }: { id: string }) => id)];
}

async function signIn(platform: Awaited<ReturnType<typeof startPlatform>>): Promise<string> {
  const answer = await fetch(`${platform.apiUrl}/sessions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(platform.admin),
  });
  return ((await answer.json()) as { access_token: string }).access_token;
}
