import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { ServiceBroker } from "moleculer";
import { fail } from "../../contracts/errors.ts";
import type { Ctx, Meta } from "../../contracts/meta.ts";
import { newId } from "../../lib/ids.ts";
import { rows, type Transaction } from "../../lib/sql/database.ts";
import { idempotent, idempotentLeased } from "../../mixins/postgres/idempotency.ts";
import { type Postgres, postgres } from "../../mixins/postgres/postgres.mixin.ts";
import { eventually } from "../support/eventually.ts";
import { ACQUIRE_TIMEOUT_MS, createDatabase, type TestDatabase } from "../support/postgres.ts";
import { testIdentity } from "../support/tokens.ts";

const identity = testIdentity();
const ADA = newId();
const BOB = newId();

let database: TestDatabase;
let db: Postgres;
let broker: ServiceBroker;
/** The work of the next calls, besides its entry in the ledger. */
let during: () => Promise<void> | void;
let ran = 0;

beforeAll(async () => {
  database = await createDatabase("orders");
  db = postgres({ url: database.url, poolSize: 20, acquireTimeoutMs: ACQUIRE_TIMEOUT_MS, name: "test" });
  broker = new ServiceBroker({
    nodeID: newId(),
    namespace: newId(),
    logger: false,
    skipProcessEventRegistration: true,
    middlewares: [identity.middleware()],
  });
  broker.createService(identity.service);
  broker.createService({
    name: "till",
    mixins: [db.mixin],
    actions: {
      pay: (ctx: Ctx<{ what: string }>) =>
        idempotent(db, ctx, "till.pay", async (trx) => {
          ran += 1;
          await enter(trx, ctx.params.what);
          await during();
          return { zebra: ctx.params.what, apple: 1 };
        }),
      open: (ctx: Ctx<{ what: string }>) =>
        idempotentLeased(db, ctx, "till.open", async (finish) => {
          await db.transact((trx) => enter(trx, `begun ${ctx.params.what}`));
          ran += 1; // from here on `during` is what it was when the test counted
          await during();
          return await db.transact(async (trx) => {
            await enter(trx, ctx.params.what);
            return await finish(trx, { opened: ctx.params.what });
          });
        }),
    },
  });
  await broker.start();
  await db.db.query("CREATE TABLE ledger (what text)");
});
afterAll(async () => {
  await broker.stop();
  await database.drop();
});
beforeEach(async () => {
  await db.db.query("TRUNCATE ledger, idempotency_keys");
  during = () => undefined;
  ran = 0;
});

const enter = async (trx: Transaction, what: string) => {
  await trx.query("INSERT INTO ledger VALUES (?)", [what]);
};
const ledger = async () =>
  (await rows<{ what: string }>(db.db, "SELECT what FROM ledger ORDER BY what")).map(({ what }) => what);

/** Calls as a user with a key; the hash of the body is the body here. */
async function ask(action: "till.pay" | "till.open", what: string, key?: string, who = ADA) {
  const meta: Meta = { token: await identity.token({ id: who }) };
  if (key) meta.idempotency = { key, bodyHash: what };
  const answer = await broker.call(action, { what }, { meta });
  return { answer, replayed: meta.replayed === true };
}

describe("idempotent", () => {
  it("without a key, is an ordinary transaction", async () => {
    await ask("till.pay", "tea");
    await ask("till.pay", "tea");
    expect(await ledger()).toEqual(["tea", "tea"]);
    expect(await rows(db.db, "SELECT * FROM idempotency_keys")).toEqual([]);
  });

  it("with the same key and body, answers a repeat with the same text, marked as replayed", async () => {
    const first = await ask("till.pay", "tea", "k");
    const second = await ask("till.pay", "tea", "k");
    expect(JSON.stringify(second.answer)).toBe(JSON.stringify(first.answer));
    expect([first.replayed, second.replayed]).toEqual([false, true]);
    expect(await ledger()).toEqual(["tea"]);
  });

  it("with the same key and another body, is refused without effect", async () => {
    await ask("till.pay", "tea", "k");
    await expect(ask("till.pay", "cake", "k")).rejects.toMatchObject({
      type: "IDEMPOTENCY_MISMATCH",
      code: 422,
    });
    expect(await ledger()).toEqual(["tea"]);
  });

  it("separates the keys of two callers, and of two scopes", async () => {
    await ask("till.pay", "tea", "k");
    await ask("till.pay", "cake", "k", BOB);
    await ask("till.open", "box", "k");
    expect(await ledger()).toEqual(["begun box", "box", "cake", "tea"]);
  });

  it("with a key but without a signed-in caller, is refused", async () => {
    const meta: Meta = { idempotency: { key: "k", bodyHash: "h" } };
    const asking = broker.call("till.pay", { what: "tea" }, { meta });
    await expect(asking).rejects.toMatchObject({ type: "UNAUTHENTICATED" });
  });

  it("called a hundred times at once, has one effect; each caller gets the answer or IDEMPOTENCY_IN_FLIGHT", async () => {
    const results = await Promise.allSettled(Array.from({ length: 100 }, () => ask("till.pay", "tea", "k")));
    const types = results.map((result) =>
      result.status === "fulfilled" ? "answer" : (result.reason as { type: string }).type,
    );
    expect(types).toContain("answer");
    const allowed = ["answer", "IDEMPOTENCY_IN_FLIGHT", "SERVICE_UNAVAILABLE"];
    expect(types.filter((type) => !allowed.includes(type))).toEqual([]);
    expect(await ledger()).toEqual(["tea"]);
    expect(ran).toBe(1);
    expect((await ask("till.pay", "tea", "k")).replayed).toBe(true);
  });

  it("while an equal request runs, answers IDEMPOTENCY_IN_FLIGHT at once", async () => {
    let open: () => void = () => undefined;
    during = () => new Promise((resolve) => (open = resolve));
    const first = ask("till.pay", "tea", "k");
    await eventually(() => expect(ran).toBe(1));
    await expect(ask("till.pay", "tea", "k")).rejects.toMatchObject({
      type: "IDEMPOTENCY_IN_FLIGHT",
      code: 409,
    });
    open();
    await first;
    expect(await ledger()).toEqual(["tea"]);
  });

  it("whose work throws, stores nothing, so that a repeat may succeed", async () => {
    during = () => Promise.reject(fail("QUOTE_CHANGED"));
    await expect(ask("till.pay", "tea", "k")).rejects.toMatchObject({ type: "QUOTE_CHANGED" });
    during = () => undefined;
    expect(await ask("till.pay", "tea", "k")).toMatchObject({ replayed: false });
    expect(await ledger()).toEqual(["tea"]);
  });

  it("with a key older than a day, starts again, also with another body", async () => {
    await ask("till.pay", "tea", "k");
    await db.db.query("UPDATE idempotency_keys SET created_at = now() - interval '24 hours 1 second'");
    expect(await ask("till.pay", "cake", "k")).toMatchObject({ replayed: false });
    expect(await ask("till.pay", "cake", "k")).toMatchObject({ replayed: true });
    expect(await ledger()).toEqual(["cake", "tea"]);
  });
});

describe("idempotentLeased", () => {
  it("answers a repeat with the answer stored in the last transaction", async () => {
    const first = await ask("till.open", "box", "k");
    expect(await ask("till.open", "box", "k")).toEqual({ ...first, replayed: true });
    expect(await ledger()).toEqual(["begun box", "box"]);
  });

  it("while it runs, answers IDEMPOTENCY_IN_FLIGHT, and refuses another body", async () => {
    let open: () => void = () => undefined;
    during = () => new Promise((resolve) => (open = resolve));
    const first = ask("till.open", "box", "k");
    await eventually(() => expect(ran).toBe(1));
    await expect(ask("till.open", "box", "k")).rejects.toMatchObject({ type: "IDEMPOTENCY_IN_FLIGHT" });
    await expect(ask("till.open", "bag", "k")).rejects.toMatchObject({ type: "IDEMPOTENCY_MISMATCH" });
    open();
    await first;
    expect(await ledger()).toEqual(["begun box", "box"]);
  });

  it("whose work throws, frees the key at once", async () => {
    during = () => Promise.reject(fail("BANK_UNAVAILABLE"));
    await expect(ask("till.open", "box", "k")).rejects.toMatchObject({ type: "BANK_UNAVAILABLE" });
    during = () => undefined;
    await ask("till.open", "box", "k");
    expect(await ledger()).toEqual(["begun box", "begun box", "box"]);
  });

  it("after a crash, is free when the lease of fifteen seconds ends, and not before", async () => {
    const crashed = (leaseUntil: string) =>
      db.db.query(
        `INSERT INTO idempotency_keys (user_id, scope, key, body_hash, lease_token, lease_until)
         VALUES (?, 'till.open', 'k', 'box', ?, now() + interval '${leaseUntil}')`,
        [ADA, newId()],
      );
    await crashed("1 second");
    await expect(ask("till.open", "box", "k")).rejects.toMatchObject({ type: "IDEMPOTENCY_IN_FLIGHT" });
    await db.db.query("UPDATE idempotency_keys SET lease_until = now() - interval '1 ms'");
    await ask("till.open", "box", "k");
    expect(await ledger()).toEqual(["begun box", "box"]);
    during = () => new Promise(() => undefined);
    ask("till.open", "bag", "k2").catch(() => undefined);
    const [lease] = await eventually(async () => {
      const found = await rows<{ seconds: number }>(
        db.db,
        "SELECT extract(epoch FROM lease_until - now())::float AS seconds FROM idempotency_keys WHERE key = 'k2'",
      );
      expect(found).toHaveLength(1);
      return found;
    });
    expect(lease?.seconds).toBeGreaterThan(13);
    expect(lease?.seconds).toBeLessThanOrEqual(15);
    await eventually(() => expect(ran).toBe(2)); // it goes on waiting, and no later test counts it
  });

  it("that outlived its lease while another took over, commits nothing", async () => {
    let open: () => void = () => undefined;
    during = () => new Promise((resolve) => (open = resolve));
    const slow = ask("till.open", "box", "k");
    slow.catch(() => undefined);
    await eventually(() => expect(ran).toBe(1));
    await db.db.query("UPDATE idempotency_keys SET lease_until = now() - interval '1 ms'");
    during = () => undefined;
    const fast = await ask("till.open", "box", "k");
    open();
    await expect(slow).rejects.toMatchObject({ type: "IDEMPOTENCY_IN_FLIGHT" });
    expect(await ledger()).toEqual(["begun box", "begun box", "box"]);
    expect(await ask("till.open", "box", "k")).toEqual({ ...fast, replayed: true });
  });
});
