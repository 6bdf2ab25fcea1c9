import { request } from "node:http";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { ServiceBroker } from "moleculer";
import { fail } from "../../contracts/errors.ts";
import { health } from "../../mixins/health/health.mixin.ts";
import { callMetrics } from "../../platform/operations/call-metrics.ts";
import { type OperationsServer, startOperationsServer } from "../../platform/operations/operations-server.ts";

let broker: ServiceBroker;
let server: OperationsServer;
let database: () => Promise<boolean> = async () => true;
let trouble: string | undefined;
let expiry: string | undefined;
let messageBus: () => Promise<string | undefined> = async () => undefined;
const metrics = callMetrics();

const get = async (path: string, method = "GET") => {
  const response = await fetch(`http://127.0.0.1:${server.port}${path}`, { method });
  return { status: response.status, headers: response.headers, body: await response.text() };
};

beforeAll(async () => {
  broker = new ServiceBroker({ logger: false, middlewares: [metrics.middleware] });
  const queues = health({
    checks: { database: () => database() },
    degradations: { webhooks: () => trouble },
    outbox: { stats: async () => ({ waiting: 3, oldestAgeMs: 1_500 }) },
    inbox: { stats: async () => ({ waiting: 0, deadLetters: 2, oldestAgeMs: 0 }) },
    gauges: {
      orders_open: { about: "Orders by state.", label: "state", read: () => ({ paid: 4, 'od"d': 1 }) },
      sales_total: { about: "Sales.", read: () => 7 },
      broken: { about: "Cannot be read.", read: () => Promise.reject(new Error("no")) },
    },
  });
  broker.createService({
    name: "shop",
    mixins: [queues.mixin],
    actions: {
      sell: () => "sold",
      refuse: () => {
        throw fail("PARTNER_CLOSED");
      },
    },
  });
  await broker.start();
  server = await startOperationsServer({
    host: "127.0.0.1",
    port: 0,
    allowedHosts: "ops.example",
    brokers: () => [broker],
    degradations: { message_bus: () => messageBus(), certificate: () => expiry },
    counters: metrics.text,
  });
});
afterAll(async () => {
  await server.stop();
  await broker.stop();
});

describe("the operations port", () => {
  it("answers probes by IP address, and refuses requests with foreign host names", async () => {
    const asked = (host: string, headers: Record<string, string> = {}) =>
      new Promise<number>((resolve, reject) => {
        const options = {
          host: "127.0.0.1",
          port: server.port,
          path: "/livez",
          headers: { host, ...headers },
        };
        request(options, (response) => resolve(response.resume().statusCode ?? 0))
          .on("error", reject)
          .end();
      });
    expect(await asked("10.0.0.7:3001")).toBe(200);
    expect(await asked("ops.example")).toBe(200);
    expect(await asked("rebound.example:3001")).toBe(403);
    expect(await asked("127.0.0.1", { origin: "https://elsewhere.example" })).toBe(403);
  });

  it("is live from the start, and ready only after ready()", async () => {
    expect(await get("/livez")).toMatchObject({ status: 200, body: '{"status":"live"}' });
    expect((await get("/readyz")).status).toBe(503);
    server.ready();
    expect((await get("/readyz")).status).toBe(200);
  });

  it.each([
    ["says no", async () => false],
    ["throws", () => Promise.reject(new Error("secret address"))],
    ["hangs", () => new Promise<boolean>(() => undefined)],
  ])("is not ready while a check %s, and names it", async (_how, check) => {
    database = check;
    const { status, headers, body } = await get("/readyz");
    database = async () => true;
    expect([status, headers.get("retry-after")]).toEqual([503, "2"]);
    expect(JSON.parse(body).checks).toEqual([
      { service: "platform", check: "message_bus", ok: true },
      { service: "platform", check: "certificate", ok: true },
      { service: "shop", check: "database", ok: false },
      { service: "shop", check: "webhooks", ok: true },
    ]);
    expect(body).not.toContain("secret");
  });

  it("is degraded with the reason, and still answers 200", async () => {
    trouble = "webhooks: the concurrency limit has been reached for 12 s";
    expiry = "it expires in 29 days";
    const [{ status, body }, metrics] = [await get("/readyz"), await get("/metrics")];
    [trouble, expiry] = [undefined, undefined];
    expect(status).toBe(200);
    expect(JSON.parse(body)).toMatchObject({
      status: "degraded",
      checks: expect.arrayContaining([
        {
          service: "shop",
          check: "webhooks",
          ok: true,
          degraded: "webhooks: the concurrency limit has been reached for 12 s",
        },
        { service: "platform", check: "certificate", ok: true, degraded: "it expires in 29 days" },
      ]),
    });
    expect(metrics.body).toContain('waybill_degraded{service="shop",check="webhooks"} 1');
    expect(JSON.parse((await get("/readyz")).body)).toMatchObject({ status: "ready" });
  });

  it.each([
    ["says so", async () => "NATS takes no messages", "NATS takes no messages"],
    ["hangs", () => new Promise<string>(() => undefined), "does not answer"],
  ])("is degraded and still answers 200 while the message bus %s", async (_how, read, degraded) => {
    messageBus = read;
    const [{ status, body }, metrics] = [await get("/readyz"), await get("/metrics")];
    messageBus = async () => undefined;
    expect(status).toBe(200);
    expect(JSON.parse(body).checks).toContainEqual({
      ...{ service: "platform", check: "message_bus", ok: true, degraded },
    });
    expect(metrics.body).toContain('waybill_degraded{service="platform",check="message_bus"} 1');
  });

  it("is not ready from the start of a stop", async () => {
    server.unready();
    expect((await get("/readyz")).status).toBe(503);
    server.ready();
  });

  it("exports calls by outcome, queues and the services' gauges in Prometheus's format", async () => {
    await broker.call("shop.sell");
    await broker.call("shop.refuse").catch(() => undefined);
    const { body, headers } = await get("/metrics");
    expect(headers.get("content-type")).toContain("text/plain; version=0.0.4");
    for (const line of [
      'waybill_calls_total{action="shop.sell",outcome="ok"} 1',
      'waybill_calls_total{action="shop.refuse",outcome="PARTNER_CLOSED"} 1',
      'waybill_call_duration_seconds_bucket{action="shop.sell",le="+Inf"} 1',
      'waybill_call_duration_seconds_count{action="shop.sell"} 1',
      'waybill_outbox_messages{service="shop"} 3',
      'waybill_outbox_oldest_seconds{service="shop"} 1.5',
      'waybill_dead_letters{service="shop"} 2',
      'waybill_orders_open{service="shop",state="paid"} 4',
      'waybill_orders_open{service="shop",state="od\\"d"} 1',
      "# TYPE waybill_orders_open gauge",
      "# TYPE waybill_sales_total counter",
      'waybill_sales_total{service="shop"} 7',
      'waybill_ready{service="shop",check="database"} 1',
      'waybill_ready{service="platform",check="message_bus"} 1',
    ]) {
      expect(body.split("\n")).toContain(line);
    }
    expect(body).not.toContain("broken");
    expect(body).not.toContain("$node");
  });

  it("refuses other paths and methods", async () => {
    expect((await get("/")).status).toBe(404);
    const { status, headers } = await get("/readyz", "POST");
    expect([status, headers.get("allow")]).toEqual([405, "GET, HEAD"]);
  });
});
