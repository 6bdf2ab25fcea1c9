import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { ServiceBroker } from "moleculer";
import { systemClock } from "../../lib/clock.ts";
import { newId } from "../../lib/ids.ts";
import type { SharedStore } from "../../lib/redis/shared-store.ts";
import { cacherOf, sharedStoreOf } from "../../mixins/caching/shared-cacher.ts";
import { readGauges } from "../../mixins/health/health.mixin.ts";
import { LEASE_SHARE, sharedCounters } from "../../services/api/limits/shared-counters.ts";
import { type RedisServer, startRedis } from "../servers/redis.ts";
import { eventually } from "../support/eventually.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.remove());
beforeEach(() => redis.admin.flushall());

const gateways: TestGateway[] = [];
afterEach(() => Promise.all(gateways.splice(0).map((gateway) => gateway.stop())));

type Limits = Partial<Record<"RATE_LIMIT_ADDRESS" | "RATE_LIMIT_USER" | "RATE_LIMIT_SIGN_IN", number>>;

/** Whether counts are exact is asked of a machine that may be busy with other tests: there Redis gets its time. */
const PATIENCE_MS = 5_000;

async function twoGateways(
  limits: Limits,
  options: { redisTimeoutMs?: number } = { redisTimeoutMs: PATIENCE_MS },
): Promise<[TestGateway, TestGateway]> {
  const start = () => startGateway({ ...limits, REDIS_URL: redis.url }, options);
  const both = [await start(), await start()] as [TestGateway, TestGateway];
  gateways.push(...both);
  return both;
}

function signUp({ url }: TestGateway): Promise<Response> {
  return fetch(`${url}/api/v1/users`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({
      email: `${newId()}@example.org`,
      password: "correct horse battery",
      first_name: "Zoë",
      last_name: "Ng",
    }),
  });
}

async function signedIn(gateway: TestGateway, id: string) {
  const Authorization = `Bearer ${await gateway.identity.token({ id })}`;
  const send = (method: string, path: string) =>
    fetch(`${gateway.url}/api/v1${path}`, { method, headers: { Authorization } });
  return { read: () => send("GET", "/me"), write: () => send("DELETE", "/sessions/current") };
}

/** Sends so many requests over both at once. @returns how many of them were answered 429 */
async function refusedOf(count: number, ...senders: (() => Promise<Response>)[]): Promise<number> {
  const answers = await Promise.all(
    Array.from({ length: count }, (_, index) => senders[index % senders.length]?.()),
  );
  return answers.filter((answer) => answer?.status === 429).length;
}

describe("limits of two gateways on one Redis", () => {
  it("of sign-in, allow the exact number of requests, in any distribution", async () => {
    const [one, other] = await twoGateways({ RATE_LIMIT_SIGN_IN: 10 });
    expect(
      await refusedOf(
        20,
        () => signUp(one),
        () => signUp(other),
      ),
    ).toBe(10);
    const refused = await signUp(other);
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(50);
    expect(refused.headers.get("ratelimit")).toMatch(/"sign-in";r=0;t=\d+/);
    expect(refused.headers.get("ratelimit-policy")).toContain('"sign-in";q=10;w=60');
  });

  it("of a user's writes, allow the exact number, and do not count other users", async () => {
    const [one, other] = await twoGateways({ RATE_LIMIT_USER: 30 });
    const id = newId();
    const [atOne, atOther] = [await signedIn(one, id), await signedIn(other, id)];
    expect(await refusedOf(60, atOne.write, atOther.write)).toBe(30);
    expect((await (await signedIn(one, newId())).write()).status).not.toBe(429);
  });

  it("of a user's reads, never allow more, and at most one lease less", async () => {
    const limit = 200;
    const [one, other] = await twoGateways({ RATE_LIMIT_USER: limit });
    const id = newId();
    const [atOne, atOther] = [await signedIn(one, id), await signedIn(other, id)];
    const passedAtOther = 3 - (await refusedOf(3, atOther.read));
    const passed = passedAtOther + 250 - (await refusedOf(250, atOne.read));
    expect(passed).toBeLessThanOrEqual(limit);
    expect(passed).toBeGreaterThan(limit - limit * LEASE_SHARE);
    // The hits that the other gateway has leased are not lost: it grants them.
    expect(passed + 50 - (await refusedOf(50, atOther.read))).toBe(limit);
  });

  it("of a user's reads and writes, share one budget", async () => {
    const [one, other] = await twoGateways({ RATE_LIMIT_USER: 100 });
    const id = newId();
    const [atOne, atOther] = [await signedIn(one, id), await signedIn(other, id)];
    const refused = await refusedOf(240, atOne.read, atOther.write, atOther.read, atOne.write);
    expect(refused).toBe(140);
  });

  it.each([
    ["reads", 0],
    ["reads and writes", 5],
  ])("of %s, at the same time, never allow one more", async (_, everyWrite) => {
    const broker = new ServiceBroker({
      logger: false,
      cacher: cacherOf({ REDIS_URL: redis.url }, PATIENCE_MS) as never,
      skipProcessEventRegistration: true,
    });
    const store = sharedStoreOf(broker) as SharedStore;
    try {
      expect(await store.ready(2_000)).toBe(true);
      const limit = 40;
      const [one, other] = [0, 1].map(() => sharedCounters(store, "test:limit:", systemClock));
      const take = { key: newId(), limit };
      const counts = await Promise.all(
        Array.from({ length: 500 }, (_, index) =>
          (index % 2 ? one : other)?.consume([take], index % everyWrite === 0),
        ),
      );
      const passed = counts.filter((count) => (count?.[0]?.hits ?? 0) <= limit);
      expect(passed).toHaveLength(limit);
    } finally {
      await broker.stop();
    }
  });

  it("of reads, need one request to Redis for many reads", async () => {
    const [one] = await twoGateways({ RATE_LIMIT_USER: 3_000 });
    const { read } = await signedIn(one, newId());
    await read();
    const commands = async () =>
      [...(await redis.admin.info("commandstats")).matchAll(/cmdstat_evalsha:calls=(\d+)/g)].reduce(
        (sum, [, calls]) => sum + Number(calls),
        0,
      );
    const before = await commands();
    expect(await refusedOf(45, read)).toBe(0);
    expect(await commands()).toBe(before);
  });

  it("of writes, need one request to Redis for all limits together", async () => {
    const [one] = await twoGateways({});
    const { write } = await signedIn(one, newId());
    const seen: string[] = [];
    const monitor = await redis.admin.duplicate().monitor();
    monitor.on("monitor", (_time, args: string[]) => {
      if (/^eval/i.test(args[0] ?? "")) seen.push(args.slice(2, 5).join(" "));
    });
    await write();
    await eventually(() => expect(seen.length).toBeGreaterThan(0));
    monitor.disconnect();
    expect(seen).toHaveLength(1);
    expect(seen[0]).toMatch(/^2 test:limit:address:\S+ test:limit:user:/);
  });

  it("used up, are refused without a request to Redis", async () => {
    const [one] = await twoGateways({ RATE_LIMIT_SIGN_IN: 1 });
    expect(await refusedOf(2, () => signUp(one))).toBe(1);
    await redis.admin.flushall();
    expect((await signUp(one)).status).toBe(429);
  });

  it("after the end of their window in Redis, start again", async () => {
    const [one, other] = await twoGateways({ RATE_LIMIT_SIGN_IN: 1 });
    expect((await signUp(one)).status).not.toBe(429);
    const [key = ""] = await redis.admin.keys("test:limit:sign-in:*");
    expect(await redis.admin.pttl(key)).toBeGreaterThan(50_000);
    await redis.admin.del(key);
    expect((await signUp(other)).status).not.toBe(429);
  });

  it("without Redis at the start, do not keep the gateway from starting", async () => {
    const gateway = await startGateway({ RATE_LIMIT_SIGN_IN: 1, REDIS_URL: "redis://127.0.0.1:1" });
    gateways.push(gateway);
    expect(await refusedOf(3, () => signUp(gateway))).toBe(0);
    const gauges = await readGauges(gateway.broker);
    expect(gauges).toContainEqual(expect.objectContaining({ name: "redis_up", figures: 0 }));
  });

  it("report refusals by limit and leased hits to the operator", async () => {
    const [one] = await twoGateways({ RATE_LIMIT_SIGN_IN: 1, RATE_LIMIT_USER: 100 });
    await refusedOf(3, () => signUp(one));
    await (await signedIn(one, newId())).read();
    const figures = Object.fromEntries(
      (await readGauges(one.broker)).map(({ name, figures }) => [name, figures]),
    );
    expect(figures).toMatchObject({
      rate_limited_total: { address: 0, user: 0, "sign-in": 2 },
      redis_up: 1,
      redis_unanswered_total: 0,
    });
    // Five of the user, and fifty of the address.
    expect(figures.rate_limit_leased_hits).toBe(5 - 1 + 50 - 1);
  });

  it.each([
    ["killed", () => redis.kill(), () => redis.start()],
    ["frozen", async () => redis.freeze(), async () => redis.thaw()],
  ])(
    "with Redis %s, allow all requests in time, and work again after its return",
    async (_, lose, bringBack) => {
      const [one, other] = await twoGateways({ RATE_LIMIT_SIGN_IN: 3 }, {});
      await lose();
      try {
        for (let index = 0; index < 10; index++) {
          const startedMs = performance.now();
          expect((await signUp(index % 2 ? one : other)).status).not.toBe(429);
          expect(performance.now() - startedMs).toBeLessThan(500);
        }
      } finally {
        await bringBack();
      }
      await eventually(async () => expect(await refusedOf(8, () => signUp(one))).toBeGreaterThan(0));
    },
  );
});
