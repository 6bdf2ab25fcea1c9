import { createRequire } from "node:module";
import { waitAtMost } from "../lib/timeout.ts";

/**
 * Loaded before the modules that it instruments. With OTEL_EXPORTER_OTLP_ENDPOINT, spans are sent there in batches;
 * without it, the SDK is not even loaded. It is loaded by `require`, because Moleculer's runner requires its
 * configuration, which must not wait for an import.
 */
const require = createRequire(import.meta.url);
const MAX_FLUSH_MS = 2_000;

let shutdown: (() => Promise<void>) | undefined;

/** Sends the remaining spans; takes two seconds at most. Call before the process exits. */
export async function stopTelemetry(): Promise<void> {
  const flush = shutdown;
  shutdown = undefined;
  if (!flush) return;
  await waitAtMost(MAX_FLUSH_MS, flush());
}

/**
 * All instrumented modules are CommonJS or part of Node and are patched when first required. The hook for ECMAScript
 * modules is not used: it loads every module twice, which takes two seconds of CPU at the start.
 */
function startTelemetry(): () => Promise<void> {
  const { NodeSDK } = require("@opentelemetry/sdk-node") as typeof import("@opentelemetry/sdk-node");
  const { PgInstrumentation } =
    require("@opentelemetry/instrumentation-pg") as typeof import("@opentelemetry/instrumentation-pg");
  const { UndiciInstrumentation } =
    require("@opentelemetry/instrumentation-undici") as typeof import("@opentelemetry/instrumentation-undici");
  const sdk = new NodeSDK({
    serviceName: process.env.OTEL_SERVICE_NAME ?? "waybill",
    instrumentations: [
      // Otherwise every query of the workers, which poll the database, would start a trace.
      new PgInstrumentation({ requireParentSpan: true, ignoreConnectSpans: true }),
      new UndiciInstrumentation({ requireParentforSpans: true }),
      ...(process.env.MONGO_URL ? [mongodbInstrumentation()] : []),
      ...(process.env.REDIS_URL ? [redisInstrumentation()] : []),
    ],
    metricReaders: [],
    logRecordProcessors: [],
  });
  sdk.start();
  return () => sdk.shutdown();
}

/** Its spans contain the command without values. */
function mongodbInstrumentation() {
  const { MongoDBInstrumentation } =
    require("@opentelemetry/instrumentation-mongodb") as typeof import("@opentelemetry/instrumentation-mongodb");
  return new MongoDBInstrumentation({ requireParentSpan: true, enhancedDatabaseReporting: false });
}

/** Its spans contain only the command's name: keys contain client addresses and customer ids. */
function redisInstrumentation() {
  const { IORedisInstrumentation } =
    require("@opentelemetry/instrumentation-ioredis") as typeof import("@opentelemetry/instrumentation-ioredis");
  return new IORedisInstrumentation({ requireParentSpan: true, dbStatementSerializer: (command) => command });
}

if (process.env.OTEL_EXPORTER_OTLP_ENDPOINT) {
  shutdown = startTelemetry();
  process.once("beforeExit", () => stopTelemetry());
}
