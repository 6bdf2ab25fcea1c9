import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { type Database, row } from "../../lib/sql/database.ts";
import { listUndelivered } from "../../mixins/consumer/dead-letters.repository.ts";
import {
  acceptMessages,
  claimDue,
  inboxStats,
  markAllDone,
  markDead,
  markDone,
  oldestWaitingMs,
  pruneInbox,
  renewLeases,
  reschedule,
} from "../../mixins/consumer/inbox.repository.ts";
import { parseMessage } from "../../mixins/consumer/parse-message.ts";
import { envelope } from "../../mixins/outbox/envelope.ts";
import {
  claimMessages,
  dueMessages,
  insertMessages,
  markFailed,
  markSent,
  outboxStats,
  pruneOutbox,
} from "../../mixins/outbox/outbox.repository.ts";
import { userDeleted } from "../support/messaging.ts";
import { createDatabase, openPool, type TestDatabase } from "../support/postgres.ts";

const OLD = 100_000;
const WAITING = 50;
const GROUP = "orders";
const UNDELIVERED_MAX = 100;
const RETENTION_MS = 86_400_000 * 14;
/** Rows that a statement may touch beyond those that it is about. */
const SLACK = 200;

let database: TestDatabase;
let db: Database;
let messages: ReturnType<typeof envelope>[];

/** A hundred thousand messages of the last days, handled, in the order of their ids. */
async function load(): Promise<void> {
  const made = `lpad(to_hex((extract(epoch FROM now() - interval '3 days') * 1000)::bigint + n), 12, '0')`;
  const id = `(substr(${made}, 1, 8) || '-' || substr(${made}, 9, 4) || '-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid`;
  await db.query("SET statement_timeout = 0");
  await db.query(
    `INSERT INTO outbox (id, source, type, subject, time, dataschema, data, sent_at)
     SELECT ${id}, 's', 'user.deleted', 's', now(), 'd', '{}', now() FROM generate_series(1, ${OLD}) AS n`,
  );
  await db.query(
    `INSERT INTO inbox (message_id, consumer, source, type, subject, time, dataschema, data, state)
     SELECT ${id}, '${GROUP}', 's', 'user.deleted', 's', now(), 'd', '{}', 'done'
     FROM generate_series(1, ${OLD}) AS n`,
  );
}

/** How many rows of both tables a piece of work has read, by scans of any kind. */
async function rowsRead(work: () => Promise<unknown>): Promise<number> {
  const count = async () => {
    await db.query("SELECT pg_stat_force_next_flush()");
    const stats = await row<{ rowsRead: number }>(
      db,
      `SELECT (SELECT sum(seq_tup_read) FROM pg_stat_user_tables WHERE relname IN ('outbox', 'inbox'))
         + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname IN ('outbox', 'inbox'))
         AS rows_read`,
    );
    return Number(stats?.rowsRead);
  };
  const before = await count();
  await work();
  return (await count()) - before;
}

/** Every statement that a message meets on its way, once. */
const statements: [name: string, work: () => Promise<unknown>][] = [
  [
    "outbox: add",
    () => {
      messages = Array.from({ length: WAITING }, () => envelope("waybill/test", userDeleted(), Date.now()));
      return insertMessages(db, messages);
    },
  ],
  ["outbox: look", () => dueMessages(db)],
  ["outbox: count", () => outboxStats(db)],
  ["diagnosis: fresh in the outbox", () => undelivered(0, [0])],
  ["outbox: claim", () => claimMessages(db, false, 500)],
  [
    "outbox: refuse",
    () =>
      markFailed(
        db,
        messages.map(({ id }) => ({ id, delayMs: 0 })),
        "no",
      ),
  ],
  ["outbox: claim what was refused", () => claimMessages(db, true, 500)],
  ["diagnosis: refused in the outbox", () => undelivered(0, [1])],
  [
    "outbox: mark",
    () =>
      markSent(
        db,
        messages.map(({ id }) => id),
      ),
  ],
  ["outbox: prune", () => pruneOutbox(db, RETENTION_MS, 1_000)],
  [
    "inbox: accept",
    () =>
      acceptMessages(
        db,
        GROUP,
        messages.map((message) => parseMessage(message, Date.now(), RETENTION_MS)),
        { token, leaseMs: 60_000 },
      ),
  ],
  ["inbox: count", () => inboxStats(db, GROUP, ["user.deleted"])],
  ["diagnosis: waiting in the inbox", () => undelivered(0, [0])],
  ["inbox: lag", () => oldestWaitingMs(db, GROUP, ["user.deleted"])],
  [
    "inbox: claim",
    async () => {
      const claim = { group: GROUP, types: ["user.deleted"], limit: 64, isolated: 1, token, leaseMs: 60_000 };
      expect(await claimDue(db, claim)).toHaveLength(WAITING);
    },
  ],
  ["inbox: renew", () => renewLeases(db, GROUP, leases(), 60_000)],
  ["inbox: done", () => markDone(db, leases()[0] as Lease)],
  ["inbox: again", () => reschedule(db, leases()[1] as Lease, 0, 1)],
  [
    "inbox: dead",
    () => markDead(db, leases()[2] as Lease, { attempts: 1, error: "no", deadLetterId: newId() }),
  ],
  ["diagnosis: dead in the inbox", () => undelivered(2, [1])],
  ["diagnosis: nothing left", () => undelivered(0, [])],
  ["inbox: all done", () => markAllDone(db, leases().slice(3))],
  ["inbox: prune", () => pruneInbox(db, newId(Date.now() - RETENTION_MS), 1_000)],
];

const token = newId();
type Lease = { group: string; messageId: string; token: string };
/** Checks that a diagnosis finds the undelivered deliveries of one message, with these attempts. */
async function undelivered(index: number, attempts: number[]): Promise<void> {
  const { id, subject } = messages[index] as (typeof messages)[number];
  const found = await listUndelivered(db, subject, UNDELIVERED_MAX);
  expect(found).toMatchObject(attempts.map((count) => ({ messageId: id, attempts: count })));
}
const leases = (): Lease[] => messages.map(({ id }) => ({ group: GROUP, messageId: id, token }));

describe.each(["custom", "generic"])("the statements of the queues, by %s plans", (plans) => {
  beforeAll(async () => {
    database = await createDatabase("orders");
    db = openPool(database, 1); // one connection, so that its figures are complete
    await load();
    await db.query(`SET plan_cache_mode = force_${plans}_plan`);
  });
  afterAll(async () => {
    await db.close();
    await database.drop();
  });

  it.each([
    // The prunes run every ten minutes, not for every message: they may be slow until the table is analysed.
    ["statistics of an empty table", async () => undefined, /^(?!.*prune)/],
    // With what the other run left in the indexes taken away, which would be counted as read.
    ["fresh statistics", () => db.query("VACUUM (ANALYZE, INDEX_CLEANUP ON) outbox, inbox"), /./],
  ])(
    "read no more rows than those of their messages, behind 100,000 handled ones with %s",
    async (_, prepare, chosen) => {
      await db.query("DELETE FROM inbox WHERE state = 'waiting'");
      await prepare();
      const read: [string, number][] = [];
      for (const [name, work] of statements) {
        if (chosen.test(name)) read.push([name, await rowsRead(work)]);
      }
      expect(read.filter(([, count]) => count > 3 * WAITING + SLACK)).toEqual([]);
    },
  );
});
