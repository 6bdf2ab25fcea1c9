import { getCACertificates, setDefaultCACertificates } from "node:tls";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { ServiceBroker } from "moleculer";
import { actions } from "../../contracts/actions.ts";
import { exampleOf } from "../../contracts/documentation.ts";
import { fail } from "../../contracts/errors.ts";
import { isoTime } from "../../lib/clock.ts";
import { newId } from "../../lib/ids.ts";
import { redisOptions } from "../../lib/redis/redis-url.ts";
import { ANSWER_TIMEOUT_MS } from "../../lib/redis/shared-store.ts";
import { caching } from "../../mixins/caching/caching.mixin.ts";
import { cacherOf, sharedStoreOf } from "../../mixins/caching/shared-cacher.ts";
import { makeCertificate } from "../servers/certificate.ts";
import { type RedisServer, startRedis } from "../servers/redis.ts";
import { eventually } from "../support/eventually.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";

const TEN_MINUTES_MS = 600_000;
/** Where no fault is under test, Redis gets its time: the machine may be busy with other tests. */
const PATIENCE_MS = 5_000;

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.remove());
beforeEach(() => redis.admin.flushall());

const stops: (() => Promise<unknown>)[] = [];
afterEach(() => Promise.all(stops.splice(0).map((stop) => stop())));

/** A node that caches `shop.list`, whose answer counts how often it was worked out. */
async function node(namespace: string, nodeID: string, { url = redis.url, timeoutMs = PATIENCE_MS } = {}) {
  const cached = caching(["shop.list"]);
  let works = 0;
  const broker = new ServiceBroker({
    nodeID,
    namespace,
    logger: false,
    transporter: "Fake",
    cacher: cacherOf({ REDIS_URL: url }, timeoutMs) as never,
    skipProcessEventRegistration: true,
  });
  broker.createService({
    name: "shop",
    mixins: [cached.mixin],
    actions: { list: { cache: { keys: ["page"], ttl: 30 }, handler: () => `${nodeID} ${++works}` } },
  });
  stops.push(() => broker.stop());
  await broker.start();
  const store = sharedStoreOf(broker);
  expect(await store?.ready(2_000)).toBe(true);
  return { broker, cached, store, list: (page: number) => broker.call("shop.list", { page }, { nodeID }) };
}

describe("the cacher on Redis", () => {
  it("shares answers between the nodes of a namespace, and with no other", async () => {
    const namespace = newId();
    const [one, other] = [await node(namespace, "one"), await node(namespace, "other")];
    const stranger = await node(`${namespace}-2`, "stranger");
    expect([await one.list(1), await other.list(1), await stranger.list(1)]).toEqual([
      "one 1",
      "one 1",
      "stranger 1",
    ]);
  });

  it("removes an invalidated answer for all nodes, and nothing of another namespace", async () => {
    const namespace = newId();
    const [one, other] = [await node(namespace, "one"), await node(namespace, "other")];
    const stranger = await node(`${namespace}-2`, "stranger");
    const pages = Array.from({ length: 30 }, (_, page) => page);
    for (const page of pages) await one.list(page);
    await stranger.list(1);
    await one.cached.outdated();
    await eventually(async () =>
      expect((await redis.admin.keys(`${namespace}:cache-shop.list:*`)).length).toBe(0),
    );
    expect([await other.list(1), await one.list(1)]).toEqual(["other 1", "other 1"]);
    expect(await stranger.list(1)).toBe("stranger 1");
  });

  it("stores nothing without an expiry", async () => {
    const { list } = await node(newId(), "one");
    await list(1);
    const keys = await redis.admin.keys("*:cache-*");
    expect(keys).toHaveLength(1);
    expect(await redis.admin.ttl(keys[0] as string)).toBeGreaterThan(0);
  });

  it.each([
    ["killed", () => redis.kill(), () => redis.start()],
    ["frozen", async () => redis.freeze(), async () => redis.thaw()],
  ])(
    "with Redis %s, computes every answer in time, and shares again after its return",
    async (_, lose, back) => {
      const { list, store, broker } = await node(newId(), "one", { timeoutMs: ANSWER_TIMEOUT_MS });
      await list(1);
      await lose();
      try {
        const startedMs = performance.now();
        expect([await list(1), await list(1), await list(1)]).toEqual(["one 2", "one 3", "one 4"]);
        await broker.cacher?.set("x", 1);
        await broker.cacher?.del("x");
        await broker.cacher?.clean();
        // Only the first of them found out.
        expect(performance.now() - startedMs).toBeLessThan(450);
        expect(store?.unanswered()).toBeGreaterThanOrEqual(3);
      } finally {
        await back();
      }
      await eventually(async () => expect(await list(2)).toBe(await list(2)));
    },
  );

  it("with a full Redis, continues without it", async () => {
    await redis.admin.config("SET", "maxmemory", "1");
    try {
      const { list, store } = await node(newId(), "one");
      expect([await list(1), await list(1)]).toEqual(["one 1", "one 2"]);
      expect(store?.available()).toBe(true);
    } finally {
      await redis.admin.config("SET", "maxmemory", "0");
    }
  });

  it("without Redis at the start, works and uses it later", async () => {
    const late = await startRedis();
    stops.push(() => late.remove());
    await late.stop();
    const broker = new ServiceBroker({
      logger: false,
      cacher: cacherOf({ REDIS_URL: late.url }) as never,
      skipProcessEventRegistration: true,
    });
    stops.push(() => broker.stop());
    await broker.start();
    expect(await broker.cacher?.get("x")).toBeUndefined();
    await late.start();
    await eventually(() => expect(sharedStoreOf(broker)?.available()).toBe(true));
  });

  it("with a password, connects; with a wrong one, continues without Redis", async () => {
    const guarded = await startRedis({ password: "p@ss/word:1" });
    stops.push(() => guarded.remove());
    const { list } = await node(newId(), "one", { url: guarded.url });
    expect([await list(1), await list(1)]).toEqual(["one 1", "one 1"]);
    const broker = new ServiceBroker({
      logger: false,
      cacher: cacherOf({ REDIS_URL: guarded.url.replace("word", "key") }) as never,
      skipProcessEventRegistration: true,
    });
    stops.push(() => broker.stop());
    expect(await sharedStoreOf(broker)?.ready(500)).toBe(false);
  });
});

describe("the address of Redis", () => {
  it.each([
    ["redis://cache", { host: "cache", port: 6379, db: 0 }],
    ["redis://cache:6380/3", { host: "cache", port: 6380, db: 3 }],
    ["redis://:p%40ss@cache", { host: "cache", password: "p@ss" }],
    ["redis://user:p%2Fw@cache", { username: "user", password: "p/w" }],
    ["rediss://cache:6390", { host: "cache", port: 6390, tls: {} }],
    ["redis://[::1]:6379", { host: "::1", port: 6379 }],
  ])("%s, is accepted", (url, expected) => {
    expect(redisOptions(url)).toMatchObject(expected);
    if (url.startsWith("redis:")) expect(redisOptions(url).tls).toBeUndefined();
  });

  it("with TLS, is used only with a trusted certificate", async () => {
    const certificate = await makeCertificate();
    const server = await startRedis({ tls: certificate });
    stops.push(
      () => server.remove(),
      () => certificate.remove(),
    );
    const broker = new ServiceBroker({
      logger: false,
      cacher: cacherOf({ REDIS_URL: server.url }) as never,
      skipProcessEventRegistration: true,
    });
    stops.push(() => broker.stop());
    expect(await sharedStoreOf(broker)?.ready(500)).toBe(false);
    expect(await server.admin.ping()).toBe("PONG");
    const vouched = getCACertificates("default");
    setDefaultCACertificates([...vouched, certificate.cert]);
    stops.push(async () => setDefaultCACertificates(vouched));
    const { list } = await node(newId(), "one", { url: server.url });
    expect([await list(1), await list(1)]).toEqual(["one 1", "one 1"]);
  });
});

describe("checks on Redis", () => {
  let one: TestGateway;
  let other: TestGateway;
  let customerId: string;
  async function twoGateways(redisTimeoutMs = PATIENCE_MS): Promise<void> {
    one = await startGateway({ REDIS_URL: redis.url }, { redisTimeoutMs });
    other = await startGateway({ REDIS_URL: redis.url }, { redisTimeoutMs });
    stops.push(
      () => one.stop(),
      () => other.stop(),
    );
    customerId = newId();
    for (const gateway of [one, other]) {
      // There is no order of a check that was never confirmed.
      gateway.on("orders.reopenCheckout", () => {
        throw fail("CHECK_EXPIRED");
      });
    }
  }

  async function post(gateway: TestGateway, path: string, body: object) {
    const startedMs = performance.now();
    const response = await fetch(`${gateway.url}/api/v1${path}`, {
      method: "POST",
      headers: {
        Authorization: `Bearer ${await gateway.identity.token({ id: customerId })}`,
        "Content-Type": "application/json",
        "Idempotency-Key": newId(),
      },
      body: JSON.stringify(body),
    });
    const answer = { status: response.status, body: (await response.json()) as Record<string, unknown> };
    expect(performance.now() - startedMs).toBeLessThan(500);
    return answer;
  }

  async function check(gateway: TestGateway): Promise<string> {
    const checkId = newId();
    const quote = exampleOf(actions["partners.check"].result) as object;
    const expiresAt = isoTime(Date.now() + TEN_MINUTES_MS);
    gateway.on("partners.check", () => ({ ...quote, checkId, expiresAt }));
    const { status } = await post(gateway, "/orders/check", {
      partner_id: newId(),
      lines: [{ product_id: newId(), quantity: 1 }],
      address: { line1: "Unter den Linden 1", city: "Berlin", postal_code: "10117", country: "DE" },
    });
    expect(status).toBe(200);
    return checkId;
  }
  const confirm = (gateway: TestGateway, check_id: string) =>
    post(gateway, "/orders/confirm", { check_id, bank_id: newId() });
  const confirmedAt = (gateway: TestGateway) =>
    gateway.calls.filter(({ action }) => action === "orders.confirm").length;
  const expired = { status: 409, body: { code: "check_expired" } };

  it("of one gateway, are confirmed at another", async () => {
    await twoGateways();
    const checkId = await check(one);
    expect(await confirm(other, checkId)).toMatchObject({ status: 201 });
  });

  it("stay ten minutes in Redis", async () => {
    await twoGateways();
    await check(one);
    const [key = ""] = await redis.admin.keys("test:cache-check:*");
    const seconds = await redis.admin.ttl(key);
    expect(seconds).toBeGreaterThan(590);
    expect(seconds).toBeLessThanOrEqual(600);
  });

  it("lost by Redis, have expired", async () => {
    await twoGateways();
    const checkId = await check(one);
    await redis.admin.flushall();
    expect(await confirm(one, checkId)).toMatchObject(expired);
    expect(confirmedAt(one)).toBe(0);
  });

  it.each([
    ["killed", () => redis.kill(), () => redis.start()],
    ["frozen", async () => redis.freeze(), async () => redis.thaw()],
  ])("with Redis %s meanwhile, have expired, in time and without errors", async (_, lose, back) => {
    await twoGateways(ANSWER_TIMEOUT_MS);
    const checkId = await check(one);
    await lose();
    try {
      expect(await confirm(one, checkId)).toMatchObject(expired);
      expect(confirmedAt(one)).toBe(0);
      // A new check is confirmed at the gateway that made it; other gateways do not have it.
      const second = await check(one);
      expect(await confirm(other, second)).toMatchObject(expired);
      expect(await confirm(one, second)).toMatchObject({ status: 201 });
      expect((await post(one, "/sessions", { email: "a@example.org", password: "x" })).status).toBe(201);
    } finally {
      await back();
    }
    await eventually(async () => {
      expect(await confirm(other, await check(one))).toMatchObject({ status: 201 });
    });
  });
});
