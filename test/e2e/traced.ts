import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { newId } from "../../lib/ids.ts";
import { cluster } from "../support/cluster.ts";
import { eventually } from "../support/eventually.ts";
import { followedCollector, otlpServer } from "../support/otlp-server.ts";
import { type StartedPlatform, startPlatform, type TestPlatform } from "../support/platform.ts";
import { createDatabase } from "../support/postgres.ts";
import { type Client, connect } from "./client.ts";
import {
  admin,
  type Confirmation,
  check,
  customer,
  type Kitchen,
  kitchen,
  type Person,
  type Received,
  signed,
} from "./world.ts";

const SECRET = `whsec_${Buffer.from("the secret of the traced bank").toString("base64")}`;
export const TRACE_ID = "0af7651916cd43dd8448eb211c80319c";
/** The span of the front app's, in which it confirms. */
export const APP_SPAN_ID = "b7ad6b7169203331";
const APP = `00-${TRACE_ID}-${APP_SPAN_ID}-01`;

type Collector = Awaited<ReturnType<typeof otlpServer>>;
/** The clean-up of each started part, run in reverse order. */
type Undo = (() => unknown)[];

/** People, a kitchen and a bank of a platform whose spans are collected. */
export interface TracedWorld {
  collector: Collector;
  api: Client;
  /** The admin's token. */
  root: string;
  me: Person;
  shop: Kitchen;
  bankId: string;
  /** The traces that the bank received, by operation. */
  asked: [path: string, traceparent: unknown][];
}

/** The same after scenario 5 has run in one trace. */
export interface Traced extends TracedWorld {
  orderId: string;
  /** The webhook that the kitchen received. */
  told: Received;
  stop(): Promise<void>;
}

/** Runs scenario 5, called by an app with a trace of its own: see `scenario5`. */
export async function startTraced(): Promise<Traced> {
  const undo: Undo = [];
  const stop = async () => {
    for (let step = undo.pop(); step; step = undo.pop()) await step();
  };
  try {
    const { collector, platform } = await tracedPlatform(undo);
    const api = await connect(async () => platform);
    const root = await admin(api);
    const me = await customer(api);
    const shop = await kitchen(api, root);
    undo.push(() => shop.close());
    const asked: TracedWorld["asked"] = [];
    const bankId = await registerBank(api, root, asked, undo);
    const world: TracedWorld = { collector, api, root, me, shop, bankId, asked };
    return { ...world, ...(await scenario5(world)), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

export const confirm = (
  { api, me }: Pick<TracedWorld, "api" | "me">,
  check_id: string,
  bank_id: string,
  headers: Record<string, string> = {},
) =>
  api.request<Confirmation & { code: string; trace_id: string }>("POST /orders/confirm", {
    ...{ token: me.token, key: newId(), headers },
    body: { check_id, bank_id },
  });

/** The cluster, whose processes all send their spans to its collector, or a platform of the test's own. */
async function tracedPlatform(undo: Undo): Promise<{ collector: Collector; platform: TestPlatform }> {
  if (process.env.TEST_TOPOLOGY === "cluster") {
    const { platform, collectorUrl } = await cluster();
    const collector = await followedCollector(collectorUrl);
    undo.push(() => collector.close());
    return { collector, platform };
  }
  const collector = await otlpServer();
  undo.push(() => collector.close());
  const platform = await ownPlatform(collector.url, undo);
  undo.push(() => platform.end("SIGTERM"));
  return { collector, platform };
}

/** Its spans go to the collector; the databases are the run's, so it starts quickly. */
async function ownPlatform(collectorUrl: string, undo: Undo): Promise<StartedPlatform> {
  const folder = mkdtempSync(join(tmpdir(), "waybill-trace-"));
  undo.push(() => rmSync(folder, { recursive: true, force: true }));
  const names = ["orders", "partners", "notifications", "identity"] as const;
  const databases = await Promise.all(names.map((name) => createDatabase(name)));
  undo.push(() => Promise.all(databases.map((database) => database.drop())));
  const urls = names.map((name, index) => [`POSTGRES_URL_${name.toUpperCase()}`, databases[index]?.url]);
  return await startPlatform(join(folder, "data"), {
    ...Object.fromEntries(urls),
    OTEL_EXPORTER_OTLP_ENDPOINT: collectorUrl,
    OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
    OTEL_BSP_SCHEDULE_DELAY: "50",
  });
}

/** A bank that notes the header of what it is asked, and does it. @returns its id */
async function registerBank(
  api: Client,
  root: string,
  asked: TracedWorld["asked"],
  undo: Undo,
): Promise<string> {
  const bank: Server = createServer((request, response) => {
    asked.push([`${request.method} ${request.url}`, request.headers.traceparent]);
    request.resume();
    response.writeHead(201, { "Content-Type": "application/json" });
    response.end(JSON.stringify({ id: "b", url: "http://127.0.0.1:9/pay", state: "completed" }));
  });
  await new Promise<void>((listening) => bank.listen(0, "127.0.0.1", listening));
  undo.push(() => {
    bank.closeAllConnections();
    bank.close();
  });
  const body = {
    title: "Bank of the trace",
    adapter: "sandbox",
    settings: { apiKey: "a".repeat(32), webhookSecret: SECRET },
    webcheckout_url: `http://127.0.0.1:${(bank.address() as AddressInfo).port}`,
    active: true,
  };
  return (await api.ok<{ id: string }>("POST /banks", { token: root, key: newId(), body })).id;
}

/**
 * Confirmed by an app that is traced; paid, with an euro too much, at a bank that is not; accepted with the trace
 * and ready without.
 */
async function scenario5(world: TracedWorld): Promise<Pick<Traced, "orderId" | "told">> {
  const { api, me, shop, bankId } = world;
  const quote = await check(api, me, shop);
  const confirmed = await confirm(world, quote.check_id, bankId, { traceparent: APP });
  if (confirmed.status !== 201) throw new Error(`the order was not confirmed: ${confirmed.status}`);
  const orderId = confirmed.body.order_id;
  const { amount_minor, currency } = quote.total;
  const data = { payment_id: newId(), order_id: orderId, amount_minor: amount_minor + 100, currency };
  const body = JSON.stringify({ type: "payment.succeeded", data });
  await api.ok(`POST /webhooks/payments/${bankId}`, {
    body,
    headers: signed(SECRET, newId(), new Date(), body),
  });
  const told = await eventually(() => {
    const [first] = shop.received;
    if (!first) throw new Error("the kitchen was not told");
    return first;
  });
  await mustBeTaken(shop.say("order.accepted", orderId, { traceparent: told.traceparent }));
  await mustBeTaken(shop.say("order.ready", orderId));
  return { orderId, told };
}

async function mustBeTaken(saying: Promise<{ status: number }>): Promise<void> {
  const { status } = await saying;
  if (status !== 202) throw new Error(`what the kitchen said was answered ${status}`);
}
