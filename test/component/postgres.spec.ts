import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { ServiceBroker, type ServiceSchema } from "moleculer";
import { newId } from "../../lib/ids.ts";
import { row } from "../../mixins/postgres/database.ts";
import { isConnectionTrouble, type Postgres, postgres } from "../../mixins/postgres/postgres.mixin.ts";
import { createDatabase } from "../support/postgres.ts";

let database: { url: string; drop(): Promise<void> };
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
    "SELECT id FROM orders WHERE id = $1 - Connection terminated unexpectedly",
    "Client has encountered a connection error and is not queryable",
  ])("takes what the driver says of a lost connection for an outage: %s", (message) => {
    expect(isConnectionTrouble(new Error(message))).toBe(true);
  });

  it("does not take a text of somebody else's for an outage", () => {
    expect(isConnectionTrouble(new Error("the order Connection terminated was not found"))).toBe(false);
    expect(
      isConnectionTrouble(Object.assign(new Error("x - Connection terminated"), { code: "23505" })),
    ).toBe(false);
  });

  it("of rows, gives names in camelCase, moments as ISO text, whole numbers, and nothing for null", async () => {
    const sql =
      "SELECT 9007199254740991::bigint AS big_one, NULL AS no_one, '2026-11-22 10:00+02'::timestamptz AS at_time";
    expect(await broker.call("probe.run", { sql })).toEqual({
      bigOne: Number.MAX_SAFE_INTEGER,
      atTime: "2026-11-22T08:00:00.000Z",
    });
  });

  it("of a number that JavaScript cannot count, refuses instead of rounding", async () => {
    const refusal = broker.call("probe.run", { sql: "SELECT 9007199254740993::bigint AS n" });
    await expect(refusal).rejects.toThrow(/beyond 2\^53/);
  });

  it.each(["run", "inTransaction"])(
    "when a statement takes too long in %s, says that a repeat may help",
    async (action) => {
      const late = broker.call(`probe.${action}`, { sql: "SELECT pg_sleep(5)" });
      await expect(late).rejects.toMatchObject({ type: "SERVICE_UNAVAILABLE", retryable: true });
    },
  );

  it("when all connections are taken, says so within the time to wait for one", async () => {
    const busy = [1, 2].map(() => db.transact((trx) => row(trx, "SELECT pg_sleep(1)")));
    const late = broker.call("probe.run", { sql: "SELECT 1" });
    await expect(late).rejects.toMatchObject({ type: "SERVICE_UNAVAILABLE" });
    await Promise.all(busy);
  });

  it("for a mistake of ours, does not pretend that a repeat would help", async () => {
    const wrong = broker.call("probe.run", { sql: "SELECT nonsense" });
    await expect(wrong).rejects.toMatchObject({ code: "42703" });
  });
});
