import { afterAll, afterEach, beforeAll, describe, expect, it } from "@jest/globals";
import type { Service } from "moleculer";
import { fail } from "../../contracts/errors.ts";
import { systemClock } from "../../lib/clock.ts";
import type { SharedStore } from "../../lib/redis/shared-store.ts";
import { readSettings, type Settings } from "../../lib/settings/settings.ts";
import { cacherOf } from "../../mixins/caching/shared-cacher.ts";
import { gateway as gatewayOf } from "../../services/api/gateway.ts";
import { eventually } from "../support/eventually.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";
import { servedBeside } from "../support/slow-sockets.ts";

let gateway: TestGateway | undefined;
afterEach(async () => {
  await gateway?.stop();
  gateway = undefined;
});

async function statuses(count: number, send: () => Promise<Response>): Promise<number[]> {
  const seen: number[] = [];
  for (let index = 0; index < count; index++) seen.push((await send()).status);
  return seen;
}

describe("limits of the gateway", () => {
  it("of one user, count that user's requests to every operation, and no other user's", async () => {
    gateway = await startGateway({ RATE_LIMIT_USER: 2 });
    const { url, identity } = gateway;
    const [one, other] = [await identity.token(), await identity.token()];
    const get = (token: string, path: string) =>
      fetch(`${url}/api/v1${path}`, { headers: { Authorization: `Bearer ${token}` } });
    expect(await statuses(2, () => get(one, "/me"))).toEqual([200, 200]);
    const refused = await get(one, "/orders");
    expect(refused.status).toBe(429);
    expect(refused.headers.get("ratelimit")).toMatch(/"address";r=\d+;t=\d+, "user";r=0;t=\d+/);
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
    expect((await get(other, "/orders")).status).toBe(200);
  });

  it("of sign-in, are stricter, and are counted before a body is read", async () => {
    gateway = await startGateway({ RATE_LIMIT_SIGN_IN: 2 });
    const { url } = gateway;
    const signIn = () => fetch(`${url}/api/v1/sessions`, { method: "POST", body: "{" });
    expect(await statuses(3, signIn)).toEqual([415, 415, 429]);
    expect((await fetch(`${url}/api/v1/track/abc`)).status).toBe(200);
  });

  it.each([
    ["sign-in", { RATE_LIMIT_SIGN_IN: 2 }, "PUT", "/me/password"],
    ["one address", { RATE_LIMIT_ADDRESS: 2 }, "POST", "/orders/check"],
    ["one address", { RATE_LIMIT_ADDRESS: 2 }, "GET", "/orders"],
  ])("of %s, count requests whose token is refused: %#", async (_, limit, method, path) => {
    gateway = await startGateway(limit);
    const { url } = gateway;
    const headers = { Authorization: "Bearer guessed" };
    const send = () => fetch(`${url}/api/v1${path}`, { method, headers });
    expect(await statuses(3, send)).toEqual([401, 401, 429]);
  });

  it("of one address, count requests to unknown paths too", async () => {
    gateway = await startGateway({ RATE_LIMIT_ADDRESS: 2 });
    const { url } = gateway;
    expect(await statuses(3, () => fetch(`${url}/nothing`))).toEqual([404, 404, 429]);
    expect((await fetch(`${url}/docs/`)).status).toBe(429);
  });

  it("with X-Forwarded-For from an untrusted client, ignore it", async () => {
    gateway = await startGateway({ RATE_LIMIT_ADDRESS: 1 });
    const { url } = gateway;
    let hop = 0;
    const send = () => fetch(`${url}/nothing`, { headers: { "X-Forwarded-For": `1.1.1.${hop++}` } });
    expect(await statuses(2, send)).toEqual([404, 429]);
  });

  it("behind a trusted proxy, are those of the client that it names", async () => {
    gateway = await startGateway({ RATE_LIMIT_ADDRESS: 1, TRUSTED_PROXIES: "127.0.0.0/8" });
    const { url } = gateway;
    let hop = 0;
    const send = () => fetch(`${url}/nothing`, { headers: { "X-Forwarded-For": `1.1.1.${hop++}` } });
    expect(await statuses(2, send)).toEqual([404, 404]);
  });
});

describe("limits that are not exceeded", () => {
  let roomy: TestGateway;
  beforeAll(async () => {
    roomy = await startGateway({ RATE_LIMIT_USER: 5, RATE_LIMIT_ADDRESS: 50 });
    roomy.on("orders.get", () => {
      throw fail("NOT_FOUND");
    });
  });
  afterAll(() => roomy.stop());
  let sent = 0;

  it.each([
    [200, "GET", "/me"],
    [304, "GET", "/me"],
    [404, "GET", "/orders/0198c0de-0000-7000-8000-000000000001"],
    [422, "POST", "/orders/check"],
  ])("are announced in an answer of %s, with the rest", async (status, method, path) => {
    const Authorization = `Bearer ${await roomy.identity.token()}`;
    const ask = async (ofUser: number, headers: Record<string, string> = {}) => {
      const answer = await fetch(`${roomy.url}/api/v1${path}`, {
        method,
        headers: { Authorization, "Content-Type": "application/json", ...headers },
        ...(method === "POST" && { body: "{}" }),
      });
      sent++;
      const left = `"address";r=${50 - sent};t=\\d+, "user";r=${5 - ofUser};t=\\d+`;
      expect(answer.headers.get("ratelimit")).toMatch(new RegExp(`^${left}$`));
      expect(answer.headers.get("ratelimit-policy")).toBe('"address";q=50;w=60, "user";q=5;w=60');
      expect(answer.headers.get("retry-after")).toBeNull();
      return answer;
    };
    const first = await ask(1);
    const etag = first.headers.get("etag") ?? "";
    const second = await ask(2, status === 304 ? { "If-None-Match": etag } : {});
    expect(second.status).toBe(status);
  });

  it.each([
    [404, "GET", "/nothing"],
    [405, "DELETE", "/api/v1/orders"],
  ])("are announced in an answer of %s that belongs to no operation", async (status, method, path) => {
    const answer = await fetch(roomy.url + path, { method });
    sent++;
    expect(answer.status).toBe(status);
    expect(answer.headers.get("ratelimit")).toMatch(new RegExp(`^"address";r=${50 - sent};t=\\d+$`));
  });
});

describe("gateway, with 500 sockets", () => {
  it.each([
    ["never finish a header", "GET /api/v1/me HTTP/1.1\r\nX-Slow: ", "x"],
    [
      "never finish a body",
      "POST /api/v1/orders/check HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n",
      " ",
    ],
  ])("that %s, serves others meanwhile", async (_, begin, drip) => {
    gateway = await startGateway();
    const signedIn = `Authorization: Bearer ${await gateway.identity.token()}\r\n`;
    await servedBeside(
      gateway.port,
      { begin: begin.startsWith("POST") ? `${begin}${signedIn}\r\n` : begin, drip },
      {
        request: `GET /api/v1/me HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${signedIn}\r\n`,
        answer: /^HTTP\/1\.1 200 /,
      },
    );
  });
});

describe("calls that run at once", () => {
  let small: TestGateway;
  beforeAll(async () => {
    small = await startGateway({}, { callsAtOnce: 4 });
    small.broker.options.requestTimeout = 60_000; // on a busy machine the held calls must not end before the others are sent
  });
  afterAll(() => small.stop());

  it("beyond a customer's share, are refused before they begin, and those of others are not", async () => {
    const [one, other] = [await small.identity.token(), await small.identity.token()];
    const going = Promise.withResolvers<void>();
    small.on("orders.history", async () => {
      await going.promise;
      throw fail("NOT_FOUND");
    });
    const get = (path: string, token: string) =>
      fetch(`${small.url}/api/v1${path}`, { headers: { Authorization: `Bearer ${token}` } });
    const begun = () => small.calls.filter(({ action }) => action === "orders.history").length;
    const path = "/orders/0198c0de-0000-7000-8000-000000000001/history";
    const held = [get(path, one), get(path, one)];
    try {
      await eventually(() => expect(begun()).toBe(2));
      const refused = await get("/me", one);
      expect(refused.status).toBe(503);
      expect(refused.headers.get("retry-after")).toBe("1");
      expect(await refused.json()).toMatchObject({ code: "overloaded" });
      expect(small.calls.filter(({ action }) => action === "identity.profile")).toEqual([]);
      expect((await get("/me", other)).status).toBe(200);
    } finally {
      going.resolve();
    }
    expect((await Promise.all(held)).map(({ status }) => status)).toEqual([404, 404]);
    expect((await get("/me", one)).status).toBe(200);
  });
});

describe("a gateway that has not started", () => {
  const settings = { ...readSettings({}), PUBLIC_URL: "http://127.0.0.1" } as Settings;

  it("has no figures of what begins with its start", () => {
    const { gauges } = gatewayOf(settings, systemClock);
    const figures = Object.fromEntries(Object.entries(gauges).map(([name, { read }]) => [name, read()]));
    expect(figures).toMatchObject({
      ...{ rate_limited_total: {}, rate_limit_leased_hits: 0, redis_unanswered_total: {}, redis_up: {} },
    });
  });

  it("waits for Redis before anything else, for two seconds at most", async () => {
    const waits: number[] = [];
    const store: Pick<SharedStore, "ready"> = {
      ready(timeoutMs) {
        waits.push(timeoutMs);
        return Promise.reject(new Error("the wait has ended"));
      },
    };
    const kind = Object.getPrototypeOf(cacherOf({ REDIS_URL: "redis://127.0.0.1:1" }));
    const broker = { cacher: Object.create(kind, { store: { value: store } }) };
    const start = gatewayOf(settings, systemClock).start({ broker } as unknown as Service);
    await expect(start).rejects.toThrow("the wait has ended");
    expect(waits).toEqual([2_000]);
  });
});
