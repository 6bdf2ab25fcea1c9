import { once } from "node:events";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { Cachers, type Context, ServiceBroker, Transporters } from "moleculer";
import ApiGateway from "moleculer-web";
import { newId } from "../../lib/ids.ts";
import {
  aliasesOf,
  endpointOf,
  hasAction,
  httpHandlerOf,
  lruCacheOf,
  natsClientOf,
  removeNode,
  replaceLruCache,
  replProgram,
} from "../../mixins/transporter/moleculer-internals.ts";
import { eventually } from "../support/eventually.ts";

const namespace = newId();
const OPTIONS = { namespace, transporter: { type: "Fake" }, logLevel: "fatal" } as const;

/** Each test fails when a new version of Moleculer changes an internal that the project uses. */
describe("an internal of Moleculer", () => {
  const near = new ServiceBroker({ ...OPTIONS, nodeID: "near" });
  const far = new ServiceBroker({ ...OPTIONS, nodeID: "far" });
  let server: Server | undefined;
  let endpoint: unknown;

  beforeAll(async () => {
    far.createService({ name: "far", actions: { ping: () => "pong" } });
    near.createService({
      name: "web",
      mixins: [ApiGateway as never],
      settings: { server: false, routes: [{ aliases: { "GET /ping": "far.ping" } }] },
    });
    near.middlewares.add({
      remoteAction: (next: (ctx: Context) => Promise<unknown>) => (ctx: Context) => {
        endpoint = endpointOf(ctx);
        return next(ctx);
      },
    } as never);
    await Promise.all([near.start(), far.start()]);
    await near.waitForServices("far");
  });
  afterAll(async () => {
    server?.close();
    await Promise.all([near.stop(), far.stop()]);
  });

  it("actions, of the registry, know which action is available", () => {
    expect(["far.ping", "far.pong"].map((name) => hasAction(near, name))).toEqual([true, false]);
  });

  it("httpHandler, of moleculer-web, answers a request", async () => {
    server = createServer(httpHandlerOf(near.getLocalService("web"))).listen(0, "127.0.0.1");
    await eventually(() => expect(server?.listening).toBe(true));
    const response = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/ping`);
    expect(await response.json()).toBe("pong");
  });

  it("aliases, of moleculer-web, have a method, a whole path and the options of their route", () => {
    const [alias] = aliasesOf(near.getLocalService("web"));
    expect(alias).toMatchObject({ method: "GET", fullPath: "/ping", route: { opts: { aliases: {} } } });
  });

  it("resolveAlias and routeHandler, of moleculer-web, decide for a request what runs and how", async () => {
    const asked: unknown[] = [];
    const own = new ServiceBroker({ logger: false });
    const service = own.createService({
      name: "web",
      mixins: [ApiGateway as never],
      settings: { server: false, routes: [{ path: "/api", aliases: { "GET /ping": () => undefined } }] },
      methods: {
        resolveAlias(path: string, method: string) {
          asked.push([method, path]);
          return { alias: aliasesOf(service)[0], params: { id: "1" } };
        },
        routeHandler: (_ctx, _route, _req, res: ServerResponse, found) => {
          res.end();
          asked.push(found);
          return true;
        },
      },
    });
    await own.start();
    const listening = createServer(httpHandlerOf(service)).listen(0, "127.0.0.1");
    await once(listening, "listening");
    await fetch(`http://127.0.0.1:${(listening.address() as AddressInfo).port}/api/pong/`);
    expect(asked).toEqual([["GET", "/api/pong"], { alias: aliasesOf(service)[0], params: { id: "1" } }]);
    listening.close();
    await own.stop();
  });

  it("endpoint, of a remote call, names action and node, and its state closes it for the balancer", async () => {
    await near.call("far.ping");
    expect(endpoint).toMatchObject({ name: "far:far.ping", state: true });
    const used = endpoint as { state: boolean };
    used.state = false;
    await expect(near.call("far.ping")).rejects.toMatchObject({ type: "SERVICE_NOT_AVAILABLE" });
    used.state = true;
    expect(await near.call("far.ping")).toBe("pong");
  });

  it("transit.tx, of the broker, is its transporter, whose client is null until NATS has connected", () => {
    const transporter = new Transporters.NATS({});
    expect(transporter).toMatchObject({ client: null });
    const broker = new ServiceBroker({ logLevel: "fatal", transporter });
    expect(broker.transit).toMatchObject({ tx: transporter });
    expect(natsClientOf(broker)).toBeNull();
  });

  it("cache, of the in-memory cacher, is an lru-cache whose class takes a size limit", async () => {
    const cacher = new Cachers.MemoryLRU({ max: 2 });
    replaceLruCache(cacher, { max: 2, maxSize: 10, sizeCalculation: () => 4 });
    const cache = lruCacheOf(cacher) as unknown as { set(key: string, value: unknown): void };
    for (const key of ["a", "b", "c"]) cache.set(key, 1);
    expect(lruCacheOf(cacher).calculatedSize).toBe(8);
  });

  it("commands, of moleculer-repl, register in a program of commander", () => {
    const names = replProgram(near).commands.map((command) => command.name());
    expect(names).toEqual(expect.arrayContaining(["nodes", "services", "actions", "call", "emit"]));
  });

  it("registry.nodes, of the broker, loses a node that is removed", () => {
    expect(removeNode(near, "far")).toBe(true);
    expect(removeNode(near, "far")).toBe(false);
  });
});
