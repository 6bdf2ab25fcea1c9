import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { SpanKind } from "@opentelemetry/api";
import { newId } from "../../lib/ids.ts";
import { type Client, connect } from "../e2e/client.ts";
import {
  admin,
  type Confirmation,
  check,
  customer,
  type Kitchen,
  kitchen,
  type Person,
  sandboxBank,
  signIn,
} from "../e2e/world.ts";
import { type RedisServer, startRedis } from "../servers/redis.ts";
import { eventually } from "../support/eventually.ts";
import { exportedAttributes, exportedTitle, otlpServer } from "../support/otlp-server.ts";
import { type StartedPlatform, startPlatform } from "../support/platform.ts";
import { createDatabase, type TestDatabase } from "../support/postgres.ts";

const START_MS = 60_000;
const ANSWERED_WITHIN_MS = 500;
const BACK_WITHIN_MS = 10_000;
const names = ["orders", "partners", "notifications", "identity"] as const;

const folder = mkdtempSync(join(tmpdir(), "waybill-redis-platform-"));
let databases: TestDatabase[] = [];
let redis: RedisServer;
let collector: Awaited<ReturnType<typeof otlpServer>>;
let there: StartedPlatform;
let api: Client;
let me: Person;
let shop: Kitchen;
let bankId: string;

beforeAll(async () => {
  redis = await startRedis();
  collector = await otlpServer();
  databases = await Promise.all(names.map((name) => createDatabase(name)));
  there = await startPlatform(join(folder, "data"), {
    ...Object.fromEntries(
      names.map((name, index) => [`POSTGRES_URL_${name.toUpperCase()}`, databases[index]?.url ?? ""]),
    ),
    REDIS_URL: redis.url,
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
    OTEL_BSP_SCHEDULE_DELAY: "50",
  });
  api = await connect(async () => there);
  me = await customer(api);
  shop = await kitchen(api, await admin(api));
  bankId = await sandboxBank(api, me);
}, START_MS);
afterAll(async () => {
  await shop?.close();
  await there?.end("SIGTERM");
  collector?.close();
  await redis?.remove();
  await Promise.all(databases.map((database) => database.drop()));
  rmSync(folder, { recursive: true, force: true });
});

const confirm = (checkId: string, headers: Record<string, string> = {}) =>
  api.request<Confirmation & { code: string }>("POST /orders/confirm", {
    ...{ token: me.token, key: newId(), headers },
    body: { check_id: checkId, bank_id: bankId },
  });

/** @returns what `work` answers, which must not take long */
async function inTime<T>(work: () => Promise<T>): Promise<T> {
  const startedMs = performance.now();
  const result = await work();
  expect(performance.now() - startedMs).toBeLessThan(ANSWERED_WITHIN_MS);
  return result;
}

async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${there.opsUrl}/metrics`)).text();
  return Number(new RegExp(`^${name}\\{[^}]*\\} (\\d+)$`, "m").exec(text)?.[1]);
}

describe("the platform on Redis", () => {
  it("confirms a check from Redis in one trace, whose commands show no keys", async () => {
    const quote = await check(api, me, shop);
    expect(await redis.admin.keys("*:cache-check:*")).toHaveLength(1);
    const traceId = newId().replaceAll("-", "");
    const { status } = await confirm(quote.check_id, { traceparent: `00-${traceId}-b7ad6b7169203331-01` });
    expect(status).toBe(201);
    const spans = await eventually(() => {
      const found = collector.spans.filter(
        (span) => span.traceId === traceId && exportedAttributes(span)["db.system.name"] === "redis",
      );
      const titles = found.map(exportedTitle);
      expect(titles).toEqual(expect.arrayContaining(["CLIENT get", "CLIENT set"]));
      return found;
    });
    expect(spans.every(({ kind }) => kind === SpanKind.CLIENT + 1)).toBe(true);
    expect(JSON.stringify(spans)).not.toContain(me.id);
    expect(JSON.stringify(spans)).not.toContain(quote.check_id);
  });

  it("after a loss of Redis's data, requires a new check, and never uses a wrong price", async () => {
    const quote = await check(api, me, shop);
    await redis.admin.flushall();
    expect(await confirm(quote.check_id)).toMatchObject({ status: 409, body: { code: "check_expired" } });
    const again = await check(api, me, shop);
    expect(again.total).toEqual(quote.total);
    expect((await confirm(again.check_id)).status).toBe(201);
  });

  it("for a repeated confirmation whose check is lost, answers its order", async () => {
    const quote = await check(api, me, shop);
    const first = await confirm(quote.check_id);
    await redis.admin.flushall();
    expect((await confirm(quote.check_id)).body.order_id).toBe(first.body.order_id);
  });

  it.each([
    ["killed", () => redis.kill(), () => redis.start()],
    ["frozen", async () => redis.freeze(), async () => redis.thaw()],
  ])("with Redis %s, sells and signs in without it, and uses it after its return", async (_, lose, back) => {
    const before = await check(api, me, shop);
    const unanswered = await metric("waybill_redis_unanswered_total");
    await lose();
    try {
      expect(await inTime(() => confirm(before.check_id))).toMatchObject({
        status: 409,
        body: { code: "check_expired" },
      });
      await inTime(() => api.ok("GET /products", { token: me.token }));
      // Hashing the password takes its time by itself.
      expect((await signIn(api, me.email)).access_token).toBeTruthy();
      const now = await inTime(() => check(api, me, shop));
      expect((await confirm(now.check_id)).status).toBe(201);
      expect((await fetch(`${there.opsUrl}/readyz`)).status).toBe(200);
      expect(await metric("waybill_redis_unanswered_total")).toBeGreaterThan(unanswered);
    } finally {
      await back();
    }
    await eventually(
      async () => {
        await check(api, me, shop);
        expect((await redis.admin.keys("*:cache-check:*")).length).toBeGreaterThan(0);
      },
      { timeoutMs: BACK_WITHIN_MS },
    );
    expect(there.output()).not.toMatch(/stack|unhandled/i);
  });
});
