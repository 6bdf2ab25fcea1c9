import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { endpointOf } from "../../services/api/pipeline/endpoint.ts";
import { routes } from "../../services/api/routes/index.ts";
import { eventually } from "../support/eventually.ts";
import { otlpServer } from "../support/otlp-server.ts";
import { type StartedPlatform, startPlatform } from "../support/platform.ts";
import { createDatabase, type TestDatabase } from "../support/postgres.ts";
import { query } from "../support/sql.ts";
import { agent, agentSecrets, misplaced } from "./canary-agents.ts";
import { type Client, connect, type Reply, type Sending } from "./client.ts";
import { CODE, check, customer, type Kitchen, kitchen, mailed, PASSWORD, signed } from "./world.ts";

/** A process that logs and traces everything starts slowly on a machine that is busy. */
const START_TIMEOUT_MS = 150_000;
/** Secrets of the operator's, each with a value that stands nowhere else. */
const operators = {
  BRIDGE_SECRET: "canary-of-the-bridge-4b1f0c7d9a2e8365",
  HANDOVER_SECRET: "canary-of-the-handover-91c5d0e7b3a84f26",
  SEAL_SECRET: "canary-of-the-seal-7e20b9d4c6f158a3e1b0",
  ADMIN_PASSWORD: "canary-of-the-admin-5d83",
};
const bankKey = "canary-of-the-bank-c04f6a1e";
const bankSecret = `whsec_${Buffer.from("canary of the bank's webhook").toString("base64")}`;
const wrongPassword = "canary-of-a-wrong-password";
const newPassword = "canary-of-a-new-password-6a";

const folder = mkdtempSync(join(tmpdir(), "waybill-canaries-"));
const databases: TestDatabase[] = [];
/** Values that only one user may see, by the name of their secret. */
const secrets = new Map<string, string>();
/** The bodies of all refusals. */
const refusals: string[] = [];
/** Successes: what was asked, by whom, and what was answered. */
const successes: { asked: string; text: string }[] = [];
let figures: string;
let collector: Awaited<ReturnType<typeof otlpServer>>;
let there: StartedPlatform;
let api: Client;
let bank: Server;
let shop: Kitchen;
let agentId: string;
let dump: string;

async function start(): Promise<void> {
  const names = ["orders", "partners", "notifications", "identity"] as const;
  databases.push(...(await Promise.all(names.map((name) => createDatabase(name)))));
  const urls = names.map((name, index) => [`POSTGRES_URL_${name.toUpperCase()}`, databases[index]?.url]);
  const env = {
    ...Object.fromEntries(urls),
    ...operators,
    ADMIN_EMAIL: "admin@canaries.example",
    LOG_LEVEL: "trace",
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
    OTEL_BSP_SCHEDULE_DELAY: "50",
  };
  there = await startPlatform(join(folder, "data"), env, { timeoutMs: START_TIMEOUT_MS });
  api = await connect(async () => ({
    ...there,
    adminEmail: "admin@canaries.example",
    adminPassword: operators.ADMIN_PASSWORD,
  }));
}

/** A request that may well be refused: what is answered is kept. */
async function ask<T = Record<string, unknown>>(operation: string, sending?: Sending): Promise<Reply<T>> {
  const reply = await api.request<T>(operation, sending);
  const text = reply.bytes.toString();
  if (reply.status >= 400) refusals.push(text);
  else successes.push({ asked: operation, text });
  return reply;
}

/** Reads every readable operation of the route tables, as the admin and as the customer. */
async function readEverything(known: Record<string, string>, readers: Record<string, string>): Promise<void> {
  const reads = routes.filter(({ method, content }) => method === "GET" && content === undefined);
  for (const { route } of reads.map(endpointOf)) {
    const path = route.path.replace(/\{(\w+)\}/g, (_, name: string) => known[name] as string);
    for (const [who, token] of Object.entries(readers)) {
      const { status, bytes } = await api.request(`GET ${path}`, { token });
      if (status < 300) successes.push({ asked: `GET ${route.path} as ${who}`, text: bytes.toString() });
      else refusals.push(bytes.toString());
    }
  }
}

/** Everything that holds a secret, done right and done wrong. */
async function life(): Promise<void> {
  for (const [name, value] of Object.entries(operators)) secrets.set(name, value);
  const session = await api.ok<{ access_token: string; refresh_token: string }>("POST /sessions", {
    body: { email: "admin@canaries.example", password: operators.ADMIN_PASSWORD },
  });
  const root = session.access_token;
  secrets.set("the admin's access token", root).set("the admin's refresh token", session.refresh_token);
  const me = await customer(api);
  secrets
    .set("a password", PASSWORD)
    .set("an access token", me.token)
    .set("a refresh token", me.refreshToken);
  secrets.set("a wrong password", wrongPassword).set("a new password", newPassword);
  await ask("POST /sessions", { body: { email: me.email, password: wrongPassword } });
  await ask("POST /sessions", { body: { email: me.email, password: [wrongPassword] } });
  await ask("POST /sessions", { body: `{"email":"${me.email}","password":"${wrongPassword}"` });
  await ask("POST /sessions/refresh", { body: { refresh_token: `${me.refreshToken}x` } });
  await ask("GET /me", { token: `${me.token}x` });
  await ask("PUT /me/password", {
    token: me.token,
    body: { current_password: wrongPassword, new_password: newPassword },
  });
  await api.ok("POST /password/forgot", { body: { email: me.email } });
  const code = await mailed(api, me.email, CODE);
  await ask("POST /password/reset", { body: { email: me.email, code: "000000", password: newPassword } });
  secrets.set("a code", code);
  const guest = `${newId()}@staff.example`;
  await api.ok("POST /invitations", { token: root, key: newId(), body: { email: guest, role: "deliverer" } });
  secrets.set("an invitation's token", await mailed(api, guest, /^ {4}(\S+)$/m));
  await merchants(root);
  await order(me, root);
}

async function merchants(root: string): Promise<void> {
  secrets.set("a bank's key", bankKey).set("a bank's secret", bankSecret);
  for (const [what, value] of agentSecrets) secrets.set(what, value);
  shop = await kitchen(api, root);
  secrets.set("a partner's first secret", shop.secret);
  const rotated = await api.ok<{ secret: string }>(`POST /partners/${shop.partnerId}/webhook/rotate-secret`, {
    token: root,
    key: newId(),
  });
  secrets.set("a partner's next secret", rotated.secret);
  const added = await ask<{ id: string }>("POST /agents", { token: root, key: newId(), body: agent });
  agentId = added.body.id;
  await ask(`PATCH /agents/${agentId}`, { token: root, body: { settings: agent.settings } });
  for (const settings of misplaced) {
    await ask("POST /agents", { token: root, key: newId(), body: { ...agent, settings } });
  }
}

async function order(me: { token: string }, root: string): Promise<void> {
  bank = createServer((request, response) => {
    request.resume();
    response.writeHead(500).end(`{"error":"${request.headers.authorization}"}`);
  });
  await new Promise<void>((listening) => bank.listen(0, "127.0.0.1", listening));
  const body = {
    title: "Bank of the canaries",
    adapter: "sandbox",
    settings: { apiKey: bankKey, webhookSecret: bankSecret },
    webcheckout_url: `http://127.0.0.1:${(bank.address() as AddressInfo).port}`,
    active: true,
  };
  const { id } = (await ask<{ id: string }>("POST /banks", { token: root, key: newId(), body })).body;
  await ask(`PATCH /banks/${id}`, { token: root, body: { settings: body.settings } });
  await ask("POST /banks", { token: root, key: newId(), body: { ...body, settings: { apiKey: bankKey } } });
  const quote = await check(api, me as Parameters<typeof check>[1], shop);
  await ask("POST /orders/confirm", { ...me, key: newId(), body: { check_id: quote.check_id, bank_id: id } });
  const { order_id, seen } = await ordered(me);
  secrets.set("a tracking token", seen.tracking_token ?? "");
  expect((await ask(`GET /track/${seen.tracking_token}`)).status).toBe(200);
  await ask(`GET /track/${seen.tracking_token}x`);
  const report = JSON.stringify({ type: "payment.succeeded", data: { order_id } });
  await ask(`POST /webhooks/payments/${id}`, {
    body: report,
    headers: signed(shop.secret, newId(), new Date(), report),
  });
  const known = { order_id, agent_id: agentId, partner_id: shop.partnerId, token: seen.tracking_token ?? "" };
  await readEverything(known, { "the admin": root, "the customer": me.token });
}

/** The order whose page the bank did not open: it is there, and its customer sees its tracking token. */
async function ordered(me: { token: string }) {
  const { items } = await api.ok<{ items: { id: string }[] }>("GET /orders", me);
  const order_id = items[0]?.id ?? "";
  const seen = await api.ok<{ tracking_token?: string }>(`GET /orders/${order_id}`, me);
  return { order_id, seen };
}

/** Every row of every table of every database, and every file beside them. */
async function everythingKept(): Promise<string> {
  const tables = await Promise.all(
    databases.map(async ({ url }) => {
      const names = await query<{ name: string }>(
        url,
        "SELECT quote_ident(tablename) AS name FROM pg_tables WHERE schemaname = 'public'",
      );
      const contents = names.map(({ name }) => query(url, `SELECT to_jsonb(t) AS row FROM ${name} t`));
      return JSON.stringify(await Promise.all(contents));
    }),
  );
  const data = join(folder, "data");
  const files = readdirSync(data, { recursive: true, encoding: "utf8" })
    .filter((name) => name !== "secrets.json" && statSync(join(data, name)).isFile())
    .map((name) => readFileSync(join(data, name), "latin1"));
  return [...tables, ...files].join("\n");
}

beforeAll(async () => {
  collector = await otlpServer();
  await start();
  await life();
  await eventually(() => expect(collector.spans.some(({ name }) => name.includes("/track/"))).toBe(true));
  dump = await everythingKept();
  figures = await (await fetch(`${there.opsUrl}/metrics`)).text();
  await there.end("SIGTERM");
}, 2 * START_TIMEOUT_MS);
afterAll(async () => {
  await shop?.close();
  await there?.end("SIGKILL");
  bank?.closeAllConnections();
  bank?.close();
  collector?.close();
  await Promise.all(databases.map((database) => database.drop()));
  rmSync(folder, { recursive: true, force: true });
});

/** The names of the secrets that a text holds; a short code only where no other digits stand around it. */
function foundIn(text: string): string[] {
  return [...secrets].flatMap(([name, value]) => {
    const isThere =
      value.length > 8 ? text.includes(value) : new RegExp(`(?<![\\w.-])${value}(?![\\w.-])`).test(text);
    return isThere ? [name] : [];
  });
}

describe("secrets, each with a canary value", () => {
  it("are all known to the test", () => {
    expect(secrets.size).toBeGreaterThanOrEqual(18);
    for (const value of secrets.values()) expect(value.length).toBeGreaterThanOrEqual(6);
    expect(refusals.length).toBeGreaterThan(8);
    expect(foundIn([...secrets.values()].join(" "))).toHaveLength(secrets.size);
  });

  it("are in no log line at the most verbose level", () => {
    expect(there.output().length).toBeGreaterThan(1_000);
    expect(foundIn(there.output())).toEqual([]);
  });

  it("are in no span, neither in attributes nor in errors", () => {
    expect(collector.spans.length).toBeGreaterThan(100);
    expect(foundIn(JSON.stringify(collector.spans))).toEqual([]);
  });

  it("are in no body of an error response", () => {
    expect(foundIn(refusals.join("\n"))).toEqual([]);
  });

  it("are in no response, except the tracking token in its customer's orders", () => {
    expect(new Set(successes.map(({ asked }) => asked)).size).toBeGreaterThan(30);
    const asked = successes.map((each) => each.asked);
    expect(asked).toEqual(
      expect.arrayContaining(["POST /banks", "POST /agents", "GET /agents as the admin"]),
    );
    const found = successes.flatMap((each) => foundIn(each.text).map((name) => `${each.asked}: ${name}`));
    expect(found.toSorted()).toEqual(
      ["/orders", "/orders/{order_id}"].map((path) => `GET ${path} as the customer: a tracking token`),
    );
  });

  it("are in no metric, neither in a name nor in a label", () => {
    // The value of a metric is a number. Removing it avoids a match with a code of digits.
    const names = figures.replace(/ [-+.\deE]+$/gm, "");
    expect(names).toMatch(/^waybill_\w+\{/m);
    expect(names.length).toBeGreaterThan(1_000);
    expect(foundIn(names)).toEqual([]);
  });

  it("are in plain text in no table and no file, message or stored answer", () => {
    expect(dump).toContain("Bank of the canaries");
    expect(foundIn(dump)).toEqual([]);
  });
});
