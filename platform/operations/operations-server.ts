import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { ServiceBroker } from "moleculer";
import { foreignHeader } from "../../lib/net/foreign-request.ts";
import {
  type CheckResult,
  checkHealth,
  type Degradation,
  degradationOf,
  type GaugeResult,
  readGauges,
} from "../../mixins/health/health.mixin.ts";
import { labelValue } from "./call-metrics.ts";

const HEADERS_TIMEOUT_MS = 5_000;
const REQUEST_TIMEOUT_MS = 10_000;
const MAX_CONNECTIONS = 64;

export interface OperationsServer {
  readonly port: number;
  /** From now on /readyz answers by the checks. Before it, and after `unready`, it answers 503. */
  ready(): void;
  unready(): void;
  stop(): Promise<void>;
}

export interface OperationsOptions {
  host: string;
  port: number;
  /** Further host names of requests that are accepted. IP addresses and localhost always are. */
  allowedHosts?: string;
  brokers: () => readonly ServiceBroker[];
  /** Reasons why the process is degraded or soon will be, by name. */
  degradations?: Record<string, Degradation>;
  /** Counters of the process itself, in the text format of Prometheus. */
  counters: () => string;
}

/**
 * The operations port: /livez (the process responds), /readyz (it can get requests) and /metrics. It is separate from the
 * port of the API, so that it is not published with it.
 * @throws Error with the code EADDRINUSE when the port is taken
 */
export async function startOperationsServer(options: OperationsOptions): Promise<OperationsServer> {
  let started = false;
  const server = createServer(
    { headersTimeout: HEADERS_TIMEOUT_MS, requestTimeout: REQUEST_TIMEOUT_MS },
    (request, response) => {
      const foreign = foreignHeader(request.headers, options.allowedHosts);
      if (foreign) {
        return send(response, 403, "application/json", JSON.stringify({ status: `${foreign} not allowed` }));
      }
      const path = request.url?.split("?")[0];
      const answer =
        path === "/livez" ? live : path === "/readyz" ? readiness : path === "/metrics" ? metrics : undefined;
      if (!answer) return send(response, 404, "application/json", '{"status":"not found"}');
      if (request.method !== "GET" && request.method !== "HEAD") {
        response.setHeader("Allow", "GET, HEAD");
        return send(response, 405, "application/json", '{"status":"method not allowed"}');
      }
      answer(response).catch(() => send(response, 500, "application/json", '{"status":"failed"}'));
    },
  );
  server.maxConnections = MAX_CONNECTIONS;

  const live = async (response: ServerResponse) =>
    send(response, 200, "application/json", '{"status":"live"}');
  const askAll = async (): Promise<CheckResult[]> => {
    const own = Object.entries(options.degradations ?? {}).map(([check, ask]) =>
      degradationOf("platform", check, ask),
    );
    return (await Promise.all([...own, ...options.brokers().map(checkHealth)])).flat();
  };
  const readiness = async (response: ServerResponse) => {
    const checks = await askAll();
    const ok = started && checks.every((check) => check.ok);
    // A degraded process still gets requests, because the others may be degraded too.
    const status = checks.some(({ degraded }) => degraded !== undefined) ? "degraded" : "ready";
    const body = JSON.stringify({ status: ok ? status : "not ready", checks });
    if (!ok) response.setHeader("Retry-After", "2");
    send(response, ok ? 200 : 503, "application/json", body);
  };
  const metrics = async (response: ServerResponse) => {
    const reading = options.brokers().map(readGauges);
    const [checks, ...gauges] = await Promise.all([askAll(), ...reading]);
    const text = [
      ...checkLines(checks),
      ...gaugeLines(gauges.flat()),
      ...processLines(),
      options.counters(),
      "",
    ].join("\n");
    send(response, 200, "text/plain; version=0.0.4; charset=utf-8", text);
  };

  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(options.port, options.host, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    ready() {
      started = true;
    },
    unready() {
      started = false;
    },
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  if (response.headersSent) return;
  response.writeHead(status, {
    "Content-Type": type,
    "Content-Length": Buffer.byteLength(body),
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
  });
  response.end(body);
}

/** The readiness checks as gauges, so that an alert can name the failing check. */
function* checkLines(checks: readonly CheckResult[]): Generator<string> {
  yield "# HELP waybill_ready Whether a readiness check passes.";
  yield "# TYPE waybill_ready gauge";
  for (const { service, check, ok } of checks) {
    yield `waybill_ready{service="${service}",check="${labelValue(check)}"} ${ok ? 1 : 0}`;
  }
  yield "# HELP waybill_degraded Whether a part is degraded; /readyz has the reason.";
  yield "# TYPE waybill_degraded gauge";
  for (const { service, check, degraded } of checks) {
    yield `waybill_degraded{service="${service}",check="${labelValue(check)}"} ${degraded === undefined ? 0 : 1}`;
  }
}

function* gaugeLines(gauges: readonly GaugeResult[]): Generator<string> {
  const byName = Map.groupBy(gauges, ({ name }) => name);
  for (const [name, results] of byName) {
    yield `# HELP waybill_${name} ${results[0]?.about}`;
    yield `# TYPE waybill_${name} ${name.endsWith("_total") ? "counter" : "gauge"}`;
    for (const { service, label, figures } of results) {
      const values: [string, number][] =
        typeof figures === "number"
          ? [["", figures]]
          : Object.entries(figures).map(([value, figure]) => [`,${label}="${labelValue(value)}"`, figure]);
      for (const [more, figure] of values) yield `waybill_${name}{service="${service}"${more}} ${figure}`;
    }
  }
}

function* processLines(): Generator<string> {
  const { rss, heapUsed } = process.memoryUsage();
  const { user, system } = process.cpuUsage();
  yield "# TYPE process_resident_memory_bytes gauge";
  yield `process_resident_memory_bytes ${rss}`;
  yield "# TYPE nodejs_heap_size_used_bytes gauge";
  yield `nodejs_heap_size_used_bytes ${heapUsed}`;
  yield "# TYPE process_cpu_seconds_total counter";
  yield `process_cpu_seconds_total ${(user + system) / 1_000_000}`;
  yield "# TYPE process_start_time_seconds gauge";
  yield `process_start_time_seconds ${(Date.now() / 1000 - process.uptime()).toFixed(3)}`;
}
