import { spawn } from "node:child_process";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Result } from "../../contracts/actions.ts";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import { startMoodyBank } from "../support/moody-bank.ts";
import { sampleQuote } from "../support/orders.ts";
import { type OrdersHarness, startOrders } from "../support/orders-service.ts";
import { createDatabase, type TestDatabase } from "../support/postgres.ts";
import { runFolder } from "../support/test-run.ts";
import type { TestClaims } from "../support/tokens.ts";

const PROGRAM = join(import.meta.dirname, "..", "support", "confirming.ts");
const ASKERS = 100;
const LEASE_SECONDS = 15;
const LONG_FORM = Boolean(process.env.NIGHTLY);
/** Further places between the claim and the answer's commit; each costs a process. */
const inBetween = [
  { point: "transaction.ending:2", orders: 0 },
  { point: "idempotency.finishing", orders: 1 },
];
/** Of a lease's time, what is really waited; the rest is taken off it. All of it in the long form. */
const WAITED_SECONDS = LONG_FORM ? LEASE_SECONDS : 0.5;
const TIMEOUT_MS = 180_000;

let bank: Awaited<ReturnType<typeof startMoodyBank>>;
let database: TestDatabase;
let shop: OrdersHarness;
beforeAll(async () => {
  database = await createDatabase("orders");
  bank = await startMoodyBank();
  shop = await startOrders({ url: database.url, bankUrl: bank.url });
});
afterAll(async () => {
  await shop.stop();
  await bank.stop();
  await database.drop();
});

/** The parameters of one confirmation, the same at each call. */
function confirmation() {
  const quote = sampleQuote();
  const who: TestClaims & { id: string } = { id: newId(), role: "customer" };
  shop.quotes.set(quote.checkId, quote);
  const params = { bankId: shop.bankId, quote, customer: { id: who.id, name: "Ada Byron" } };
  const key = { key: newId(), bodyHash: "c".repeat(64) };
  const ask = () => shop.as(who, "orders.confirm", params, key);
  return { who, quote, params, key, ask };
}

type Answer = Result<"orders.confirm">;

/** Answers of a busy machine to a hundred concurrent calls, before the work is done. */
const BUSY = /^(?:SERVICE_UNAVAILABLE|SERVICE_NOT_AVAILABLE|REQUEST_TIMEOUT|OVERLOADED|BANK_UNAVAILABLE)$/;

/** As a client: again, until there is an answer, or a refusal that no repeat will change. */
async function untilAnswered(ask: () => Promise<Answer>): Promise<Answer> {
  const outcome = await eventually(
    async () => {
      const [asked] = await Promise.allSettled([ask()]);
      if (asked.status === "rejected" && mayChange(asked.reason)) throw asked.reason;
      return asked;
    },
    { timeoutMs: TIMEOUT_MS },
  );
  if (outcome.status === "rejected") throw outcome.reason;
  return outcome.value;
}

function mayChange({ type }: { type: string }): boolean {
  return type === "IDEMPOTENCY_IN_FLIGHT" || BUSY.test(type);
}

const ordersOf = (customerId: string) =>
  shop.sql<{ id: string }>("SELECT id FROM orders WHERE customer_id = $1", [customerId]);

describe("orders.confirm under one Idempotency-Key", () => {
  it(
    "called a hundred times at once, creates one order, and every caller gets the same answer",
    async () => {
      const { ask, quote, who } = confirmation();
      const answers = await Promise.all(Array.from({ length: ASKERS }, () => untilAnswered(ask)));
      expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1);
      expect(answers[0]).toMatchObject({ orderId: quote.checkId, status: "pending" });
      expect(await ordersOf(who.id)).toEqual([{ id: quote.checkId }]);
      expect(shop.reserved.filter(({ orderId }) => orderId === quote.checkId)).toHaveLength(1);
    },
    TIMEOUT_MS,
  );

  // The visits of a process that makes a bank, and then claims the key, saves the order and stores the answer.
  it.each([
    { point: "idempotency.claimed", orders: 0 },
    { point: "transaction.ended:2", orders: 1 },
    ...(LONG_FORM ? inBetween : []),
  ])(
    "with its process killed by SIGKILL at $point, is free after fifteen seconds, and a repeat creates the one order",
    async ({ point, orders }) => {
      const { ask, quote, who, params, key } = confirmation();
      expect(await endOf({ who, params, key }, point)).toBe("SIGKILL");
      await eventually(async () =>
        expect(ask()).rejects.toMatchObject({ type: "IDEMPOTENCY_IN_FLIGHT", code: 409 }),
      );
      expect(await ordersOf(who.id)).toHaveLength(orders);
      const [lease] = await shop.sql<{ seconds: number }>(
        "SELECT extract(epoch FROM lease_until - now())::float AS seconds FROM idempotency_keys WHERE key = $1",
        [key.key],
      );
      expect(lease?.seconds).toBeLessThanOrEqual(LEASE_SECONDS);
      await shop.sql(
        `UPDATE idempotency_keys SET lease_until = lease_until - interval '1 second' * $2 WHERE key = $1`,
        [key.key, LEASE_SECONDS - WAITED_SECONDS],
      );
      const answer = await untilAnswered(ask);
      expect(answer.orderId).toBe(quote.checkId);
      expect(await ask()).toEqual(answer);
      expect(await ordersOf(who.id)).toEqual([{ id: quote.checkId }]);
      expect(shop.reserved.filter(({ orderId }) => orderId === quote.checkId)).toHaveLength(1 - orders);
    },
    TIMEOUT_MS,
  );

  it("with its process killed by SIGKILL after the commit, answers a repeat at once", async () => {
    const { ask, quote, who, params, key } = confirmation();
    expect(await endOf({ who, params, key }, "idempotency.stored")).toBe("SIGKILL");
    const [kept] = await shop.sql<{ answer: { value: Answer } }>(
      "SELECT answer FROM idempotency_keys WHERE key = $1",
      [key.key],
    );
    expect(kept?.answer.value).toMatchObject({ orderId: quote.checkId, status: "pending" });
    expect(await ask()).toEqual(kept?.answer.value);
    expect(await ordersOf(who.id)).toEqual([{ id: quote.checkId }]);
    expect(shop.reserved.filter(({ orderId }) => orderId === quote.checkId)).toEqual([]);
  });
});

/** By which signal the process ended that confirmed; what it said when it was none. */
async function endOf(asked: object, failpoint: string): Promise<string> {
  const child = spawn(process.execPath, [PROGRAM], {
    env: {
      PATH: process.env.PATH,
      WAYBILL_TEST_RUN: runFolder(),
      NODE_COMPILE_CACHE: join(runFolder(), "compile-cache"),
      POSTGRES_URL: database.url,
      BANK_URL: bank.url,
      CONFIRMATION: JSON.stringify(asked),
      FAILPOINTS: failpoint,
    },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let complaint = "";
  child.stderr.setEncoding("utf8").on("data", (part) => {
    complaint += part;
  });
  return await new Promise((resolve) =>
    child.on("close", (code, signal) => resolve(signal ?? `${code}: ${complaint}`)),
  );
}
