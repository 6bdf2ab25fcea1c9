import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { stripVTControlCharacters } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { freePort } from "../../platform/free-port.ts";
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
