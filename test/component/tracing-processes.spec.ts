import { type ChildProcess, execFile, fork } from "node:child_process";
import { once } from "node:events";
import { resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, describe, expect, it } from "@jest/globals";
import { SpanKind, trace } from "@opentelemetry/api";
import { type Context, ServiceBroker } from "moleculer";
import { newId } from "../../lib/ids.ts";
import { tracing } from "../../mixins/tracing/tracing.middleware.ts";
import { freePort } from "../../platform/free-port.ts";
import { offeredBy, probeBridge, tcpNode } from "../support/bridge.ts";
import { eventually } from "../support/eventually.ts";
import { exported, otlpServer } from "../support/otlp-server.ts";
import { recordSpans, titleOf } from "../support/spans.ts";

const ROOT = resolve(import.meta.dirname, "../..");
/** Processes take seconds to start where the machine has other work. */
const PROCESSES_MS = 60_000;
const CHILD = resolve(ROOT, "test/support/bridge-child.ts");
const TELEMETRY = resolve(ROOT, "platform/telemetry.ts");
const QUIET = "--disable-warning=ExperimentalWarning";

const { ended, stop } = recordSpans();
let child: ChildProcess | undefined;
let broker: ServiceBroker | undefined;
let collector: Awaited<ReturnType<typeof otlpServer>> | undefined;
afterAll(async () => {
  child?.kill("SIGKILL");
  await broker?.stop();
  collector?.close();
  await stop();
});

describe("a trace through two processes", () => {
  it(
    "over the bridge and back by the transporter, has the right parents, and is exported at the stop",
    async () => {
      collector = await otlpServer();
      const namespace = newId();
      const urls = await Promise.all(
        ["front", "probe"].map(async (name) => `tcp://127.0.0.1:${await freePort()}/${name}`),
      );
      let carried: string | undefined;
      broker = new ServiceBroker({
        ...tcpNode("front", namespace, urls),
        middlewares: [probeBridge(), tracing()],
      });
      broker.createService({
        name: "front",
        actions: {
          pong(ctx: Context<unknown, object, object, { traceparent?: string }>) {
            carried = ctx.headers.traceparent;
            return {};
          },
        },
      });
      child = fork(CHILD, [JSON.stringify({ nodeID: "probe", namespace, urls })], {
        execArgv: [QUIET, "--import", TELEMETRY],
        env: {
          ...process.env,
          OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
          OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
          OTEL_SERVICE_NAME: "probe-of-tests",
        },
      });
      await Promise.all([once(child, "message"), broker.start()]);
      await offeredBy(broker, "probe.relay", 1);

      const caller = broker;
      const root = await trace.getTracer("test").startActiveSpan("the request", async (span) => {
        await eventually(() => caller.call("probe.relay", { action: "front.pong" }));
        span.end();
        return span.spanContext();
      });
      child.kill("SIGTERM");
      const [code] = await once(child, "exit");
      expect(code).toBe(0);

      const here = (title: string) => ended.findLast((span) => titleOf(span) === title);
      const asked = here("CLIENT probe/relay");
      expect(asked?.parentSpanContext?.spanId).toBe(root.spanId);
      const { spans, services } = collector;
      const last = spans.filter(({ parentSpanId }) => parentSpanId === asked?.spanContext().spanId);
      const answered = exported(last, SpanKind.SERVER, "probe/relay");
      const below = spans.filter(({ parentSpanId }) => parentSpanId === answered.spanId);
      const back = exported(below, SpanKind.CLIENT, "front/pong");
      expect(carried).toBe(`00-${root.traceId}-${back.spanId}-01`);
      expect(here("SERVER front/pong")?.parentSpanContext?.spanId).toBe(back.spanId);
      expect(new Set(spans.map(({ traceId }) => traceId))).toEqual(new Set([root.traceId]));
      expect(services).toEqual(new Set(["probe-of-tests"]));
    },
    PROCESSES_MS,
  );
});

describe("a process without an endpoint for its spans", () => {
  it(
    "reads no file of OpenTelemetry at its start",
    async () => {
      const spy = `data:text/javascript,${encodeURIComponent(`
      import { registerHooks } from "node:module";
      registerHooks({ resolve(specifier, context, next) {
        const found = next(specifier, context);
        if (found.url.includes("opentelemetry")) console.log(found.url);
        return found;
      } });`)}`;
      const { OTEL_EXPORTER_OTLP_ENDPOINT: _, ...env } = process.env;
      const start = (more: object) =>
        promisify(execFile)(
          process.execPath,
          [QUIET, "--import", spy, "--import", TELEMETRY, "-e", "console.log('started')"],
          { env: { ...env, ...more } },
        );
      expect((await start({})).stdout).toBe("started\n");
      // The same look at a process that has one: the spy does see.
      const { stdout } = await start({ OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1" });
      expect(stdout).toContain("@opentelemetry/sdk-node");
    },
    PROCESSES_MS,
  );

  it("wraps no action", async () => {
    const code = `
      const { isTraced, currentTraceparent, inTraceOf } = await import("./lib/tracing/index.ts");
      const { tracing } = await import("./mixins/tracing/tracing.middleware.ts");
      const same = await inTraceOf("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "x", async () => 7);
      console.log(JSON.stringify([Object.keys(tracing()), isTraced(), currentTraceparent() ?? null, same]));`;
    const { OTEL_EXPORTER_OTLP_ENDPOINT: _, ...env } = process.env;
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [QUIET, "--import", TELEMETRY, "--input-type=module", "-e", code],
      { cwd: ROOT, env },
    );
    expect(JSON.parse(stdout)).toEqual([["name"], false, null, 7]);
  });
});
