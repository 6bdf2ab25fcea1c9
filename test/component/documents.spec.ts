import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import type { Database, Db } from "../../lib/sql/database.ts";
import { createCollection } from "../../migrations/shared/documents.ts";
import * as repository from "../../mixins/documents/postgres.repository.ts";
import { documentsContract, eventOptions, openEvents } from "../support/documents-contract.ts";
import { eventually } from "../support/eventually.ts";
import { explain } from "../support/explain.ts";
import { type OtherTransaction, whileLocked } from "../support/locks.ts";
import {
  ACQUIRE_TIMEOUT_MS,
  asKnex,
  createDatabase,
  openPool,
  type TestDatabase,
} from "../support/postgres.ts";

const MANY = 100_000;
/** A descent of an index and the rows of one order. */
const PAGES = 20;

let database: TestDatabase;
let db: Database;
beforeAll(async () => {
  database = await createDatabase("orders");
  db = openPool(database, 2);
  await createCollection(asKnex(db), eventOptions.collection, eventOptions.indexes);
});
afterAll(async () => {
  await db.close();
  await database.drop();
});

const place = () => ({ postgres: { url: database.url, acquireTimeoutMs: ACQUIRE_TIMEOUT_MS } });
const empty = async () => {
  await db.query("TRUNCATE documents.events, documents.collections");
  return place();
};

documentsContract("PostgreSQL", empty);

describe("documents in PostgreSQL", () => {
  beforeEach(empty);

  it("that are removed, are locked in the order of their ids", async () => {
    for (const id of ["m2", "m1"]) {
      await repository.insert(db, "documents.events", [{ _id: id, orderId: "o1" } as { _id: string }]);
    }
    const lock = (other: OtherTransaction, id: string) =>
      other.query("UPDATE documents.events SET document = document WHERE id = $1", [id]);
    const removed = await whileLocked(
      database.url,
      (other) => lock(other, "m1"),
      () => repository.remove(db, "documents.events", { orderId: "o1" }),
      (other) => lock(other, "m2"),
    );
    expect(removed).toBe(2);
  });

  it("put concurrently under one id, end as the newest version, and an unwritable one fails alone", async () => {
    const { events, broker } = await openEvents(place());
    const bad = { _id: "x".repeat(101), orderId: "o1", version: 1 };
    const puts = await Promise.allSettled([
      ...[1, 3, 2, 3].map((version, n) =>
        events.put({ _id: "m1", orderId: "o1", version, note: `put ${n}` }),
      ),
      events.put(bad),
      events.insert(bad),
      events.insert({ _id: "m2", orderId: "o1", version: 1 }),
    ]);
    expect(puts.map(({ status }) => status)).toEqual([
      ...Array(4).fill("fulfilled"),
      "rejected",
      "rejected",
      "fulfilled",
    ]);
    expect(await events.find({ sort: ["_id"] })).toMatchObject([
      { _id: "m1", version: 3, note: "put 3" },
      { _id: "m2" },
    ]);
    await broker.stop();
  });

  it("are read although writes use all connections of the service", async () => {
    const { events, broker } = await openEvents(place());
    await events.insert({ _id: "m1", orderId: "o1", version: 1 });
    const holder = await db.begin();
    await holder.query("SELECT FROM documents.events WHERE id = 'm1' FOR UPDATE");
    const blocked = Promise.all(
      [2, 3, 4, 5, 6].map((version) => events.put({ _id: "m1", orderId: "o1", version })),
    );
    await eventually(async () => {
      const waiting = await db.query(
        "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'transactionid'",
      );
      expect(waiting.rowCount).toBe(1);
    });
    expect(await events.get("m1")).toMatchObject({ version: 1 });
    expect(await events.find({ query: { orderId: "o1" } })).toHaveLength(1);
    await holder.rollback();
    await blocked;
    expect(await events.get("m1")).toMatchObject({ version: 6 });
    await broker.stop();
  });

  it("without an answer of the server, are unavailable, and available again afterwards", async () => {
    const { events, broker } = await openEvents(place());
    await events.insert({ _id: "m1", orderId: "o1", version: 1 });
    const holder = await db.begin();
    await holder.query("LOCK TABLE documents.events");
    await expect(events.get("m1")).rejects.toMatchObject({ type: "SERVICE_UNAVAILABLE", code: 503 });
    expect([events.ready(), events.available()]).toEqual([true, false]);
    await holder.rollback();
    expect(await events.get("m1")).toMatchObject({ version: 1 });
    await eventually(() => expect(events.available()).toBe(true));
    await broker.stop();
  });

  it("that are new or were lost, are filled once while the service runs; a stop ends that", async () => {
    let rebuilds = 0;
    const rebuild = async (progress: (documents: number) => void = () => undefined) => {
      rebuilds++;
      progress(0);
      await first.events.insert({ _id: "m1", orderId: "o1", version: 1 });
      return 1;
    };
    const first = await openEvents(place(), { rebuild });
    await eventually(async () => expect(await first.events.count()).toBe(1));
    const filled = async () => (await db.query("SELECT name FROM documents.collections")).rows;
    await eventually(async () => expect(await filled()).toEqual([{ name: "events" }]));
    await first.broker.stop();

    const again = await openEvents(place(), { rebuild });
    await again.broker.stop();
    expect(rebuilds).toBe(1);

    await empty();
    let begun = false;
    const endless = async (progress: (documents: number) => void = () => undefined) => {
      for (begun = true; ; await new Promise(setImmediate)) progress(0);
    };
    const broken = await openEvents(place(), { rebuild: endless });
    await eventually(() => expect(begun).toBe(true));
    await broken.broker.stop();
    expect(await filled()).toEqual([]);
  });
});

describe("at 100,000 documents, with stale and with fresh statistics", () => {
  beforeAll(async () => {
    await empty();
    await db.query("ANALYZE documents.events");
    await db.transaction(async (trx) => {
      await trx.query("SET LOCAL statement_timeout = '60s'");
      await trx.query(
        `INSERT INTO documents.events (id, document)
         SELECT lpad(n::text, 12, '0'), jsonb_build_object('orderId', 'o' || n / 10, 'version', n % 10)
         FROM generate_series(1, ${MANY}) n`,
      );
    });
  });

  it.each(["stale", "fresh"])(
    "reading, writing and removing read only the affected rows: %s",
    async (statistics) => {
      if (statistics === "fresh") await db.query("ANALYZE documents.events");
      const pagesOf = async (work: (on: Db) => Promise<unknown>) => (await explain(db, work)).pages;
      const table = "documents.events";
      const search = { query: { orderId: "o500", version: { $gte: 3 } }, sort: ["-version"], limit: 5 };
      expect(await repository.find(db, table, search)).toHaveLength(5);
      expect(await pagesOf((on) => repository.find(on, table, search))).toBeLessThan(PAGES);
      expect(await pagesOf((on) => repository.get(on, table, "000000050000"))).toBeLessThan(PAGES);
      expect(await pagesOf((on) => repository.remove(on, table, { orderId: "o500" }))).toBeLessThan(
        2 * PAGES,
      );
      expect(await pagesOf((on) => repository.batchAfter(on, table, "000000050000", 100))).toBeLessThan(
        PAGES,
      );
      const again = [{ _id: "000000050000", version: 7 }];
      expect(await pagesOf((on) => repository.put(on, table, again, "version"))).toBeLessThan(2 * PAGES);
      expect(await pagesOf((on) => repository.insert(on, table, again))).toBeLessThan(2 * PAGES);
    },
  );
});
