import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { ServiceBroker, type ServiceSchema } from "moleculer";
import { newId } from "../../lib/ids.ts";
import type { Logger } from "../../lib/logger.ts";
import { startListener } from "../../lib/messaging/listener.ts";
import { startRunner } from "../../lib/messaging/runner.ts";
import { Database, isConnectionTrouble, row, type Transaction } from "../../lib/sql/database.ts";
import { type Postgres, postgres } from "../../mixins/postgres/postgres.mixin.ts";
import { eventually } from "../support/eventually.ts";
import { createDatabase, openPool, type TestDatabase } from "../support/postgres.ts";
import { startRelay } from "../support/relay.ts";

let database: TestDatabase;
let db: Postgres;
const broker = new ServiceBroker({ namespace: newId(), logger: false, skipProcessEventRegistration: true });

beforeAll(async () => {
  database = await createDatabase("orders");
  db = postgres({ url: database.url, poolSize: 2, acquireTimeoutMs: 300, name: "probe" });
  broker.createService({
    name: "probe",
    mixins: [db.mixin as ServiceSchema],
    actions: {
      run: (ctx) => row(db.db, (ctx.params as { sql: string }).sql),
      inTransaction: (ctx) => db.transact((trx) => row(trx, (ctx.params as { sql: string }).sql)),
    },
  });
  await broker.start();
});
afterAll(async () => {
  await broker.stop();
  await database.drop();
});

describe("the postgres mixin", () => {
  it.each([
    "Connection terminated unexpectedly",
    "Client has encountered a connection error and is not queryable",
  ])("reports a lost connection of the driver as an outage: %s", (message) => {
    expect(isConnectionTrouble(new Error(message))).toBe(true);
  });

  it("does not report another error with a similar text as an outage", () => {
    expect(isConnectionTrouble(new Error("the order Connection terminated was not found"))).toBe(false);
    expect(
      isConnectionTrouble(Object.assign(new Error("x - Connection terminated"), { code: "23505" })),
    ).toBe(false);
  });

  it("of rows, returns names in camelCase, times as ISO text, whole numbers, and no field for null", async () => {
    const sql =
      "SELECT 9007199254740991::bigint AS big_one, NULL AS no_one, '2026-11-22 10:00+02'::timestamptz AS at_time";
    expect(await broker.call("probe.run", { sql })).toEqual({
      bigOne: Number.MAX_SAFE_INTEGER,
      atTime: "2026-11-22T08:00:00.000Z",
    });
  });

  it("when two transactions wait for each other, fails one as a deadlock and not as a lost database", async () => {
    const bothHoldOne = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const lock = (key: number) => `SELECT pg_advisory_xact_lock(${key})::text AS got`;
    const outcomes = await Promise.allSettled(
      [0, 1].map((own) =>
        db.transact(async (trx) => {
          await row(trx, lock(own));
          bothHoldOne[own]?.resolve();
          await Promise.all(bothHoldOne.map(({ promise }) => promise));
          await row(trx, lock(1 - own));
        }),
      ),
    );
    const failures = outcomes.filter((outcome) => outcome.status === "rejected");
    expect(failures).toMatchObject([{ reason: { code: "40P01" } }]);
  });

  it("of a transaction whose BEGIN is cancelled, sends nothing of it", async () => {
    const one = openPool(database, 1);
    const refused = await refusing(one, "BEGIN");
    await expect(one.transaction((trx) => trx.query("CREATE TABLE never_made ()"))).rejects.toBe(refused);
    expect(await row(db.db, "SELECT to_regclass('never_made') AS found")).toEqual({});
    await one.close();
  });

  it("of a cancelled commit, leaves no open transaction on the connection", async () => {
    const one = openPool(database, 1);
    const refused = await refusing(one, "COMMIT");
    await expect(one.transaction((trx) => trx.query("CREATE TABLE rolled_back ()"))).rejects.toBe(refused);
    expect(await row(one, "SELECT to_regclass('rolled_back') AS found")).toEqual({});
    await one.close();
  });

  it("of a statement that the work did not wait for, refuses the next one and the commit", async () => {
    const one = openPool(database, 1);
    const notAwaited = "await each one before the next";
    const create = (trx: Transaction) => void trx.query("CREATE TABLE never_made ()").catch(() => undefined);
    const atOnce = one.transaction(async (trx) => create(trx));
    await expect(atOnce).rejects.toThrow(notAwaited);
    const atTheEnd = one.transaction(async (trx) => {
      await trx.query("SELECT 1");
      create(trx);
    });
    await expect(atTheEnd).rejects.toThrow(notAwaited);
    const between = one.transaction(async (trx) => {
      create(trx);
      await trx.query("SELECT 1");
    });
    await expect(between).rejects.toThrow(notAwaited);
    const nested = one.transaction((outer) => outer.transaction(async (trx) => create(trx)));
    await expect(nested).rejects.toThrow(notAwaited);
    expect(await row(one, "SELECT to_regclass('never_made') AS made")).toEqual({});
    await one.close();
  });

  it("rolled back before BEGIN is answered, sends no statement outside of the transaction", async () => {
    const one = openPool(database, 1);
    const trx = await one.begin();
    const late = trx.query("CREATE TABLE never_made ()");
    await Promise.all([expect(late).rejects.toThrow("the transaction has ended"), trx.rollback()]);
    expect(await row(one, "SELECT to_regclass('never_made') AS made")).toEqual({});
    await one.close();
  });

  it("of a statement after the end, sends nothing", async () => {
    const one = openPool(database, 1);
    const late = Promise.withResolvers<Transaction>();
    await one.transaction(async (trx) => late.resolve(trx));
    const ended = (await late.promise).query("CREATE TABLE never_made ()");
    await expect(ended).rejects.toThrow("the transaction has ended");
    await one.close();
  });

  it("of a commit after a failed statement, reports the rollback", async () => {
    const ignoring = db.db.transaction((trx) => trx.query("SELECT nonsense").catch(() => undefined));
    await expect(ignoring).rejects.toThrow("rolled back");
  });

  it("of a connection that the server ended, gives the next statement another one", async () => {
    const one = openPool(database, 1);
    const ended = one.query("SELECT pg_terminate_backend(pg_backend_pid())");
    const next = one.query("SELECT 1 AS one");
    await expect(ended).rejects.toMatchObject({ code: "57P01" });
    expect((await next).rows).toEqual([{ one: 1 }]);
    await one.close();
  });

  it.each(["a statement", "a transaction's statement", "a commit"])(
    "over a network that loses %s, reports an outage and uses another connection",
    async (lost) => {
      const relay = await startRelay(database.url);
      const url = Object.assign(new URL(database.url), { host: new URL(relay.url).host }).href;
      const limits = { poolSize: 1, acquireTimeoutMs: 30_000, requestTimeoutMs: 1_800 };
      const one = new Database({ ...limits, url, applicationName: "lost" });
      const pid = async () => (await one.query("SELECT pg_backend_pid() AS pid")).rows[0].pid as number;
      const before = await eventually(pid);
      const work = async (trx: Transaction) => {
        await trx.query("SELECT 1");
        relay.stall();
        if (lost !== "a commit") await trx.query("SELECT 1");
      };
      if (lost === "a statement") relay.stall();
      const failure = await (lost === "a statement" ? pid() : one.transaction(work)).catch((error) => error);
      expect(failure).toMatchObject({ code: "08006", message: expect.stringContaining("no answer") });
      expect(isConnectionTrouble(failure)).toBe(true);
      // The pool has closed the connection by itself.
      await eventually(() => expect(relay.counts().open).toBe(0));
      relay.open();
      expect(await eventually(pid)).not.toBe(before);
      await one.close();
      await relay.stop();
    },
  );

  it("closed while statements begin, ends each of them", async () => {
    const one = openPool(database, 1);
    await one.query("SELECT 1");
    const outcomes = Promise.allSettled([one.query("SELECT 1"), one.close(), one.query("SELECT 2")]);
    expect((await outcomes).map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "rejected"]);
  });

  it("of a number beyond JavaScript's range, refuses instead of rounding", async () => {
    const refusal = broker.call("probe.run", { sql: "SELECT 9007199254740993::bigint AS n" });
    await expect(refusal).rejects.toThrow(/beyond 2\^53/);
  });

  it.each(["run", "inTransaction"])(
    "of a statement that takes too long in %s, throws an error that may be retried",
    async (action) => {
      const late = broker.call(`probe.${action}`, { sql: "SELECT pg_sleep(5)" });
      await expect(late).rejects.toMatchObject({ type: "SERVICE_UNAVAILABLE", retryable: true });
    },
  );

  it("with all connections in use, throws that within the acquire timeout", async () => {
    const busy = [1, 2].map(() => db.transact((trx) => row(trx, "SELECT pg_sleep(1)")));
    const late = broker.call("probe.run", { sql: "SELECT 1" });
    await expect(late).rejects.toMatchObject({ type: "SERVICE_UNAVAILABLE" });
    await Promise.all(busy);
  });

  it("has its connections before the service's work begins, so that none of its first sweeps waits for one", async () => {
    const sql = "SELECT count(*)::integer AS count FROM pg_stat_activity WHERE application_name = ?";
    expect(await row(db.db, sql, ["waybill probe"])).toEqual({ count: 2 });
  });

  it("with all connections in use, logs once that background work waits, and continues by itself", async () => {
    const said: string[] = [];
    const logger = { ...broker.logger, warn: (...words: unknown[]) => said.push(words.join(" ")) } as Logger;
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    const busy = [1, 2].map(() => db.transact(() => released));
    const done = new Set<string>();
    const runners = ["first", "second", "third"].map((name) =>
      startRunner({
        ...{ name, logger, sweepMs: 1_000_000 },
        async run() {
          await db.transact((trx) => row(trx, "SELECT 1 AS one"));
          done.add(name);
        },
      }),
    );
    await eventually(() => expect(said).toHaveLength(1));
    // The others run into the same wait, and none of them is done.
    await expect(row(db.db, "SELECT 1 AS one")).rejects.toThrow("connections");
    expect(done.size).toBe(0);
    release();
    await Promise.all(busy);
    await eventually(() => expect(done.size).toBe(3));
    expect(said).toEqual([
      'Background work waits for the database: none of the 2 connections of "waybill probe" was free within 300 ms.',
    ]);
    await Promise.all(runners.map((runner) => runner.stop()));
  });

  it("for an error of ours, throws one that may not be retried", async () => {
    const wrong = broker.call("probe.run", { sql: "SELECT nonsense" });
    await expect(wrong).rejects.toMatchObject({ code: "42703" });
  });
});

describe("a listener", () => {
  it("refused by the database, connects again, ends the former connection and causes no wake-up", async () => {
    const relay = await startRelay(database.url);
    const url = Object.assign(new URL(database.url), { host: new URL(relay.url).host }).href;
    const woken: unknown[] = [];
    // The empty name is no name of a channel.
    const channel = "";
    const onWake = (payload?: string) => void woken.push(payload);
    const listener = startListener({ url, channel, onWake, logger: broker.logger });
    await eventually(() => expect(relay.counts().accepted).toBeGreaterThan(2));
    await eventually(() => expect(relay.counts().open).toBeLessThan(2));
    await listener.stop();
    await eventually(() => expect(relay.counts().open).toBe(0));
    expect(woken).toEqual([]);
    await relay.stop();
  });
});

/** Has the server cancel one statement of the pool's only connection. @returns the error that the caller gets */
async function refusing(pool: Database, statement: "BEGIN" | "COMMIT"): Promise<Error> {
  const refused = Object.assign(new Error("canceling statement"), { code: "57014", severity: "ERROR" });
  const client = await pool.acquire();
  const query = client.query.bind(client) as (text: unknown) => Promise<unknown>;
  let count = 0;
  client.query = ((text: unknown) => {
    if (text !== statement || count > 0) return query(text);
    count += 1;
    return Promise.reject(refused);
  }) as typeof client.query;
  client.release();
  return refused;
}
