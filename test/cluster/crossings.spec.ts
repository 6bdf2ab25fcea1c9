import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { SpanKind } from "@opentelemetry/api";
import sharp from "sharp";
import { type Client, connect } from "../e2e/client.ts";
import { admin, carriedOrder, customer, invited, type Kitchen, kitchen, type Person } from "../e2e/world.ts";
import { cluster, type TestCluster } from "../support/cluster.ts";
import { eventually } from "../support/eventually.ts";
import { type ExportedSpan, exportedAttributes, followedCollector } from "../support/otlp-server.ts";

/** A call between two processes, as the caller's span and the callee's tell it. */
interface Crossing {
  action: string;
  /** `grpc` or `moleculer`, which is NATS here. */
  way: string;
  from: string;
  to: string;
}

let there: TestCluster;
let api: Client;
let collector: Awaited<ReturnType<typeof followedCollector>>;
let shop: Kitchen;
let me: Person;

beforeAll(async () => {
  there = await cluster();
  collector = await followedCollector(there.collectorUrl);
  api = await connect();
  const root = await admin(api);
  me = await customer(api);
  shop = await kitchen(api, root);
  const courier = await invited(api, root, { role: "deliverer" });
  await carriedOrder(api, me, shop, courier);
  const image = await sharp({ create: { width: 64, height: 64, channels: 3, background: "teal" } })
    .png()
    .toBuffer();
  await api.ok("PUT /me/avatar", { token: me.token, image });
  await api.ok("GET /me/notifications", { token: me.token });
});
afterAll(async () => {
  collector?.close();
  await shop?.close();
});

function crossings(spans: readonly ExportedSpan[]): Crossing[] {
  const callers = new Map(
    spans.filter(({ kind }) => kind === SpanKind.CLIENT + 1).map((span) => [span.spanId, span]),
  );
  return spans.flatMap((callee) => {
    const caller = callee.kind === SpanKind.SERVER + 1 ? callers.get(callee.parentSpanId ?? "") : undefined;
    const way = exportedAttributes(callee)["rpc.system.name"];
    if (!caller?.process || !callee.process || !way) return [];
    return [{ action: callee.name.replace("/", "."), way, from: caller.process, to: callee.process }];
  });
}

/** The actions that stand in the .proto files: `orders.confirm` and the like. */
function inProtos(): Set<string> {
  const files = readdirSync("proto", { recursive: true, encoding: "utf8" }).filter((name) =>
    name.endsWith(".proto"),
  );
  const found = files.flatMap((name) => {
    const text = readFileSync(join("proto", name), "utf8");
    const service = /^package waybill\.(\w+)\./m.exec(text)?.[1];
    return [...text.matchAll(/^\s*rpc (\w+)/gm)].map(
      ([, method = ""]) => `${service}.${method.charAt(0).toLowerCase()}${method.slice(1)}`,
    );
  });
  return new Set(found);
}

/** Each action with the ways that it was called by. */
const waysOf = (calls: readonly Crossing[]) => {
  const ways = new Map<string, Set<string>>();
  for (const { action, way } of calls) ways.set(action, (ways.get(action) ?? new Set()).add(way));
  return Object.fromEntries([...ways].map(([action, set]) => [action, [...set].sort().join()]).sort());
};

describe("calls between the cluster's processes", () => {
  it("use gRPC for actions in a proto file, and NATS for the others", async () => {
    const expected = {
      "identity.signIn": "grpc",
      "identity.register": "moleculer",
      "media.putAvatar": "moleculer",
      "notifications.list": "moleculer",
      "orders.confirm": "grpc",
      "orders.receivePayment": "grpc",
      "orders.assign": "grpc",
      "orders.applyPartnerCallback": "moleculer",
      "partners.check": "grpc",
      "partners.reserve": "grpc",
      "partners.receiveCallback": "grpc",
    };
    await eventually(() => expect(waysOf(crossings(collector.spans))).toMatchObject(expected));
    const ways = waysOf(crossings(collector.spans));
    const bridged = inProtos();
    expect(bridged.size).toBeGreaterThan(30);
    const byRule = Object.keys(ways).map((action) => [action, bridged.has(action) ? "grpc" : "moleculer"]);
    expect(ways).toEqual(Object.fromEntries(byRule));
  });

  it("leave the calling process, because no service runs in two processes", async () => {
    const calls = await eventually(() => {
      const found = crossings(collector.spans);
      expect(new Set(found.map(({ to }) => to)).size).toBeGreaterThanOrEqual(6);
      return found;
    });
    for (const { action, from, to } of calls) {
      expect(from).not.toBe(to);
      // Another spec may have a node of Moleculer's runner in the same cluster: runner-partners.
      expect(to.replace(/^runner-|-\d$/g, "")).toBe(action.split(".")[0]);
    }
  });

  it("are sent by both gateways and reach both replicas of orders", async () => {
    await eventually(async () => {
      await api.ok("GET /orders?limit=1", { token: me.token });
      const calls = crossings(collector.spans);
      const from = new Set(calls.map((call) => call.from));
      const to = new Set(calls.map((call) => call.to));
      expect([...from]).toEqual(expect.arrayContaining(["gateway-1", "gateway-2", "orders-1", "partners"]));
      expect([...to]).toEqual(expect.arrayContaining(["orders-1", "orders-2"]));
    });
  });
});
