import { spawn } from "node:child_process";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { encrypt } from "../../lib/encryption.ts";
import { newId } from "../../lib/ids.ts";
import { moneyProblems } from "../support/money.ts";
import { startMoodyBank } from "../support/moody-bank.ts";
import { API_KEY, ordersSettings, WEBHOOK_SECRET } from "../support/orders-service.ts";
import { createDatabase, type TestDatabase } from "../support/postgres.ts";
import { query } from "../support/sql.ts";
import { runFolder } from "../support/test-run.ts";

const PROGRAM = join(import.meta.dirname, "refunds-process.ts");
const REFUNDS = 12;
const TOTAL_MINOR = 2950;
const TEST_TIMEOUT_MS = 60_000;
const RUN_TIMEOUT_MS = 20_000;
const KILLED = "SIGKILL";
/** Work of a killed service continues after at most 15 seconds, of which a sweep may take one. */
const RESUMED_WITHIN_MS = 14_000;

let database: TestDatabase;
let bank: Awaited<ReturnType<typeof startMoodyBank>>;
beforeAll(async () => {
  [database, bank] = await Promise.all([createDatabase("orders"), startMoodyBank()]);
});
afterAll(async () => {
  await database.drop();
  await bank.stop();
});

const sql = <T = Record<string, unknown>>(text: string, values: unknown[] = []) =>
  query<T>(database.url, text, values);

/** Cancelled orders whose money is to go back, as the service leaves them. */
async function owed(): Promise<void> {
  const bankId = newId();
  const { SEAL_SECRET } = ordersSettings(database.url);
  const settings = JSON.stringify({ apiKey: API_KEY, webhookSecret: WEBHOOK_SECRET });
  await sql(
    `INSERT INTO banks (id, title, adapter, settings, webcheckout_url, active)
     VALUES ($1, 'Bank', 'sandbox', $2, $3, true)`,
    [bankId, encrypt(settings, { secret: SEAL_SECRET }, `banks/${bankId}`), bank.url],
  );
  for (let count = 0; count < REFUNDS; count++) {
    const values = [newId(), bankId, TOTAL_MINOR];
    await sql(
      `INSERT INTO orders (id, version, status, payment_status, customer_id, customer_name, partner_id, partner,
         currency, fee_minor, total_minor, paid_minor, refund_pending_minor, address, bank_id, pay_by, closed_at,
         created_at, updated_at)
       VALUES ($1::uuid, 3, 'cancelled', 'refund_pending', $1::uuid, 'Ada', $1::uuid, '{"id": "x", "title": "y"}', 'EUR', 0, $3::bigint,
         $3::bigint, $3::bigint, '{}', $2, now(), now(), now(), now())`,
      values,
    );
    await sql(
      `INSERT INTO payment_receipts (id, bank_id, payment_id, event_id, order_id, stated_order, amount_minor,
         currency, outcome, refund_minor)
       VALUES ($1::uuid, $2, $1::uuid::text, $1::uuid::text, $1::uuid, '', $3::bigint, 'EUR', 'accepted', $3::bigint)`,
      values,
    );
    await sql(
      `INSERT INTO refunds (id, order_id, bank_id, payment_id, amount_minor, currency, reason)
       VALUES (gen_random_uuid(), $1::uuid, $2, $1::uuid::text, $3, 'EUR', 'cancelled')`,
      values,
    );
  }
}

/** Runs the service until it has nothing left to do, or a failpoint kills it; returns the cause of its end. */
async function run(failpoints: string): Promise<string> {
  const child = spawn(process.execPath, [PROGRAM], {
    env: {
      PATH: process.env.PATH,
      NODE_COMPILE_CACHE: join(runFolder(), "compile-cache"),
      WAYBILL_TEST_RUN: process.env.WAYBILL_TEST_RUN,
      DATABASE_URL: database.url,
      DATA_DIR: join(runFolder(), newId()),
      FAILPOINTS: failpoints,
    },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let complaint = "";
  child.stderr.setEncoding("utf8").on("data", (part) => {
    complaint += part;
  });
  const late = setTimeout(() => child.kill("SIGTERM"), RUN_TIMEOUT_MS);
  const end = await new Promise<string>((resolve) =>
    child.on("close", (code, signal) => resolve(signal ?? (code === 0 ? "done" : complaint))),
  );
  clearTimeout(late);
  return end;
}

/** Milliseconds until another process may claim the work of the killed one. */
async function untilResumed(): Promise<number> {
  const [row] = await sql<{ ms: number }>(
    `SELECT extract(epoch FROM max(next_at) - now())::float * 1000 AS ms FROM refunds
     WHERE state NOT IN ('completed', 'failed')`,
  );
  return row?.ms ?? 0;
}

/** The lease of the killed process has ended. */
const later = () => sql("UPDATE refunds SET next_at = now() WHERE state NOT IN ('completed', 'failed')");

describe("refunds of a service that is killed repeatedly", () => {
  it(
    "are each done once, and none is requested that the bank had done",
    async () => {
      await owed();
      for (const place of ["refund.claimed", "refund.asked:3", "refund.ended:2"]) {
        expect([place, await run(place)]).toEqual([place, KILLED]);
        expect(await untilResumed()).toBeLessThan(RESUMED_WITHIN_MS);
        await later();
      }
      expect(await run("")).toBe("done");
      expect(await moneyProblems(sql, { received: new Map(), given: bank.given })).toEqual([]);
      expect([...bank.given.values()]).toEqual(Array.from({ length: REFUNDS }, () => TOTAL_MINOR));
      expect(bank.repeats).toBe(0);
    },
    TEST_TIMEOUT_MS,
  );

  it(
    "are found to be requested twice when the service does not store its request",
    async () => {
      await owed();
      expect(await run("refund.asked")).toBe(KILLED);
      await sql(
        "UPDATE refunds SET state = 'pending', next_at = now() WHERE state NOT IN ('completed', 'failed')",
      );
      expect(await run("")).toBe("done");
      expect(bank.repeats).toBeGreaterThan(0);
    },
    TEST_TIMEOUT_MS,
  );
});
