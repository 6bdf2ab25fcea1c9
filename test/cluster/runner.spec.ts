import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { SpanKind } from "@opentelemetry/api";
import { type Client, connect } from "../e2e/client.ts";
import { admin, customer, type Kitchen, kitchen, order, type Person } from "../e2e/world.ts";
import { cluster, type TestCluster } from "../support/cluster.ts";
import { eventually } from "../support/eventually.ts";
import { exportedAttributes, followedCollector } from "../support/otlp-server.ts";

/** A test waits for several conditions, each with the bound of `eventually`. */
const TEST_TIMEOUT_MS = 240_000;

interface RunnerProcess {
  child: ChildProcess;
  /** Its output so far. */
  output(): string;
  ended: Promise<number | null>;
}

let there: TestCluster;
let api: Client;
let collector: Awaited<ReturnType<typeof followedCollector>>;
let shop: Kitchen;
let me: Person;
const started: RunnerProcess[] = [];

beforeAll(async () => {
  there = await cluster();
  collector = await followedCollector(there.collectorUrl);
  api = await connect();
  me = await customer(api);
  shop = await kitchen(api, await admin(api));
}, TEST_TIMEOUT_MS);
afterAll(async () => {
  for (const { child } of started) child.kill("SIGKILL");
  await Promise.all(started.map(({ ended }) => ended));
  collector?.close();
  await shop?.close();
});

/** Starts a service beside the cluster's processes by a command of Moleculer. */
function run(
  service: "partners" | "notifications",
  [command = "", ...words]: string[],
  env: Record<string, string> = {},
) {
  const child = spawn(process.execPath, [join("node_modules/.bin", command), ...words], {
    env: {
      ...process.env,
      ...there.env,
      ...there.serviceEnv[service],
      OTEL_SERVICE_NAME: `runner-${service}`,
      OTEL_EXPORTER_OTLP_ENDPOINT: there.collectorUrl,
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
      OTEL_BSP_SCHEDULE_DELAY: "100",
      ...env,
    },
  });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (part) => {
      text += stripVTControlCharacters(String(part));
    });
  }
  const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
  const running = { child, output: () => text, ended };
  started.push(running);
  return running;
}

/** The ways, `grpc` or `moleculer`, by which other processes have called this one. */
function waysOfCallsTo(name: string): Set<unknown> {
  const served = collector.spans.filter((span) => span.process === name && span.kind === SpanKind.SERVER + 1);
  return new Set(served.map((span) => exportedAttributes(span)["rpc.system.name"]));
}

const messagesHandledBy = (name: string) =>
  collector.spans.filter((span) => span.process === name && span.kind === SpanKind.CONSUMER + 1);

describe("a service that Moleculer's runner starts in a cluster", () => {
  it(
    "answers gRPC calls beside the launcher's replica, has Moleculer's REPL, and exits with 0 on SIGTERM",
    async () => {
      const { child, output, ended } = run("partners", [
        ...["moleculer-runner", "--config", "moleculer.config.ts", "--repl"],
        "services/partners/partners.service.ts",
      ]);
      await eventually(async () => {
        if (child.exitCode !== null) return;
        await order(api, me, shop);
        expect([...waysOfCallsTo("runner-partners")]).toContain("grpc");
        expect(messagesHandledBy("runner-partners")).not.toEqual([]);
      });
      child.stdin?.write("load services/media/media.service.ts\nservices\n");
      await eventually(() => expect(output()).toMatch(/Loaded successfully[\s\S]* partners .*OK/));
      child.kill("SIGTERM");
      expect({ code: await ended, output: output() }).toEqual({ code: 0, output: expect.anything() });
      await order(api, me, shop);
    },
    TEST_TIMEOUT_MS,
  );

  it(
    "named by SERVICES and SERVICEDIR, answers over NATS and handles messages",
    async () => {
      const { child, output, ended } = run(
        "notifications",
        ["moleculer-runner-esm", "--config", "moleculer.config.ts", "--mask", "**/*.service.ts"],
        { SERVICES: "notifications", SERVICEDIR: "services" },
      );
      await eventually(async () => {
        if (child.exitCode !== null) return;
        await customer(api);
        await api.ok("GET /me/notifications", { token: me.token });
        expect([...waysOfCallsTo("runner-notifications")]).toEqual(["moleculer"]);
        expect(messagesHandledBy("runner-notifications")).not.toEqual([]);
      });
      child.kill("SIGTERM");
      expect({ code: await ended, output: output() }).toEqual({ code: 0, output: expect.anything() });
      await api.ok("GET /me/notifications", { token: me.token });
    },
    TEST_TIMEOUT_MS,
  );
});
