import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { stripVTControlCharacters } from "node:util";
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { freePort } from "../../platform/free-port.ts";
import { connect } from "../e2e/client.ts";
import { signIn } from "../e2e/world.ts";
import { cluster, type TestCluster } from "../support/cluster.ts";
import { eventually } from "../support/eventually.ts";

const EX_UNAVAILABLE = 69;
const EX_CONFIG = 78;
const STOP_MAX_MS = 10_000;

const folder = mkdtempSync(join(tmpdir(), "waybill-operators-"));
let there: TestCluster;

beforeAll(async () => {
  there = await cluster();
}, 180_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function start(words: string[], env: Record<string, string>) {
  const { PATH = "", HOME = "" } = process.env;
  const child = spawn(process.execPath, words, {
    env: { PATH, HOME, DATA_DIR: join(folder, "data"), ...env },
  });
  child.stdin.end();
  let said = "";
  child.stdout.on("data", (part) => {
    said += part;
  });
  const ended = Promise.all([
    text(child.stdout),
    text(child.stderr),
    new Promise<number | null>((resolve) => child.once("exit", resolve)),
  ]).then(([stdout, stderr, code]) => ({ stdout: stripVTControlCharacters(stdout), stderr, code }));
  return { child, ended, said: () => said };
}

const repl = (line: string, env: Record<string, string> = {}) =>
  start(["platform/repl/client.ts", line], {
    NATS_URL: there.env.NATS_URL as string,
    ...there.operatorEnv,
    ADMIN_EMAIL: there.adminEmail,
    ADMIN_PASSWORD: there.adminPassword,
    ...env,
  }).ended;

/** Calls a list on this node. @returns "OK", or the details of the refusal */
async function called(
  { name, grpcAddress = "" }: TestCluster["processes"][number],
  { key, token }: { key: string; token: string },
): Promise<string> {
  const service = name.replace(/-\d$/, "");
  const authority = readFileSync(there.serviceEnv.partners.GRPC_TLS_CA as string);
  const client = new Client(grpcAddress, credentials.createSsl(authority), {
    "grpc.ssl_target_name_override": service,
    "grpc.enable_http_proxy": 0,
  });
  const metadata = new Metadata();
  metadata.set("waybill-client-key", key);
  metadata.set("authorization", `Bearer ${token}`);
  const path =
    service === "orders" ? "/waybill.orders.v1.Orders/ListBanks" : "/waybill.partners.v1.Partners/List";
  const asIs = (bytes: Buffer) => bytes;
  try {
    return await new Promise((resolve) => {
      client.makeUnaryRequest(path, asIs, asIs, Buffer.alloc(0), metadata, (error) =>
        resolve(error ? error.details : "OK"),
      );
    });
  } finally {
    client.close();
  }
}

describe("the operator's console in a cluster", () => {
  it("joins over NATS and calls the services as an admin", async () => {
    const { stdout, stderr, code } = await repl("banks");
    expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
    expect(stdout).toMatch(/^BANK +TITLE +ADAPTER +STATE\n[0-9a-f-]{36} /);
  });

  it("shows the queues of every service once, with any number of replicas", async () => {
    const { stdout, stderr, code } = await repl("outbox --json");
    expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
    const waiting = (JSON.parse(stdout) as { name: string; service: string }[]).filter(
      ({ name }) => name === "outbox_messages",
    );
    expect(waiting.map(({ service }) => service).sort()).toEqual([
      "identity",
      "notifications",
      "orders",
      "partners",
    ]);
  });

  it("lists the nodes of all processes", async () => {
    const { stdout, code } = await repl("nodes");
    expect(code).toBe(0);
    for (const node of ["gateway.", "orders.", "partners.", "notifications.", "identity.", "media."])
      expect(stdout).toContain(node);
  });

  it("gives a gRPC client access to every node over TLS, and takes it away from all of them", async () => {
    const api = await connect(async () => there.platform);
    const { access_token: token } = await signIn(api, there.adminEmail, there.adminPassword);
    // On a busy machine a command may be answered too late, although it was done: each try has a name of its own.
    const [name, key] = await eventually(async () => {
      const name = `program-${newId().slice(-12)}`;
      const create = `clients create ${name} --methods Orders/ListBanks,Partners/List --json`;
      const { stdout, stderr, code } = await repl(create);
      expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
      return [name, (JSON.parse(stdout) as { key: string }).key];
    });
    const nodes = there.processes.filter(({ grpcAddress }) => grpcAddress !== undefined);
    expect(nodes.map(({ name }) => name)).toEqual(["orders-1", "orders-2", "partners"]);
    const outcomes = () => Promise.all(nodes.map((node) => called(node, { key, token })));
    await eventually(async () => expect(await outcomes()).toEqual(["OK", "OK", "OK"]));
    await eventually(async () => expect((await repl(`clients revoke ${name} --yes`)).code).toBe(0));
    const refused = nodes.map(() => "No valid client key.");
    await eventually(async () => expect(await outcomes()).toEqual(refused));
  }, 180_000);

  it("with a wrong admin password, connects to NATS and can do nothing", async () => {
    const { stderr, code } = await repl("banks", { ADMIN_PASSWORD: "not the password" });
    expect(code).toBe(1);
    expect(stderr).toMatch(/^error: /);
  });

  it("with a wrong NATS password, is refused and prints that", async () => {
    const { stderr, code } = await repl("banks", { NATS_PASSWORD: "not the password" });
    expect(code).toBe(EX_UNAVAILABLE);
    expect(stderr).toContain("the platform does not answer");
  });
});

describe("a process with some of the services", () => {
  it("without required settings, ends with a line for each variable and no value", async () => {
    const { stderr, code } = await start(["platform/waybill.js"], { SERVICES: "orders" }).ended;
    expect(code).toBe(EX_CONFIG);
    expect(
      stderr
        .trim()
        .split("\n")
        .map((line) => line.split(" ")[0]),
    ).toEqual([
      ...["NATS_URL", "PUBLIC_URL", "POSTGRES_URL_ORDERS"],
      ...["BRIDGE_SECRET", "HANDOVER_SECRET", "SEAL_SECRET"],
    ]);
  });

  it("without NATS, waits for it, and ends at once on request", async () => {
    const { child, ended, said } = start(["platform/waybill.js"], {
      SERVICES: "media",
      NATS_URL: `nats://127.0.0.1:${await freePort()}`,
      PUBLIC_URL: there.gateways[0] as string,
      BRIDGE_SECRET: there.env.BRIDGE_SECRET as string,
      OPS_PORT: "0",
    });
    await eventually(() => expect(said()).toContain("Services: starting"), { timeoutMs: 30_000 });
    const toldMs = performance.now();
    child.kill("SIGTERM");
    expect((await ended).code).toBe(0);
    expect(performance.now() - toldMs).toBeLessThan(STOP_MAX_MS);
  });
});
