import { waitAtMost } from "../lib/timeout.ts";

/**
 * Loaded before everything else (`node --import ./platform/telemetry.ts`). Where OTEL_EXPORTER_OTLP_ENDPOINT is
 * set, spans are collected and sent there in batches; where it is not, not even the SDK is read.
 */
const MAX_FLUSH_MS = 2_000;

let shutdown: (() => Promise<void>) | undefined;

/** Sends the spans that are still here; waits two seconds at most. To be called before the process exits. */
export async function stopTelemetry(): Promise<void> {
  const flush = shutdown;
  shutdown = undefined;
  if (!flush) return;
  await waitAtMost(MAX_FLUSH_MS, flush());
}

/**
 * What is instrumented here is CommonJS or part of Node, and is wrapped when it is first required. The hook for
 * ECMAScript modules stays out: it reads every module twice, which costs two seconds of CPU at the start.
 */
async function startTelemetry(): Promise<() => Promise<void>> {
  const [{ NodeSDK }, { PgInstrumentation }, { UndiciInstrumentation }] = await Promise.all([
    import("@opentelemetry/sdk-node"),
    import("@opentelemetry/instrumentation-pg"),
    import("@opentelemetry/instrumentation-undici"),
  ]);
  const sdk = new NodeSDK({
    serviceName: process.env.OTEL_SERVICE_NAME ?? "waybill",
    instrumentations: [
      // Sweeps and relays ask the database all day long: a query without work around it is no trace of its own.
      new PgInstrumentation({ requireParentSpan: true }),
      new UndiciInstrumentation({ requireParentforSpans: true }),
      ...(process.env.MONGO_URL ? [await mongodbInstrumentation()] : []),
      ...(process.env.REDIS_URL ? [await redisInstrumentation()] : []),
    ],
    metricReaders: [],
    logRecordProcessors: [],
  });
  sdk.start();
  return () => sdk.shutdown();
}

/** Its spans say what was asked, without the values. */
async function mongodbInstrumentation() {
  const { MongoDBInstrumentation } = await import("@opentelemetry/instrumentation-mongodb");
  return new MongoDBInstrumentation({ requireParentSpan: true, enhancedDatabaseReporting: false });
}

/** Its spans name the command alone: the keys hold addresses of clients and ids of customers. */
async function redisInstrumentation() {
  const { IORedisInstrumentation } = await import("@opentelemetry/instrumentation-ioredis");
  return new IORedisInstrumentation({ requireParentSpan: true, dbStatementSerializer: (command) => command });
}

if (process.env.OTEL_EXPORTER_OTLP_ENDPOINT) {
  shutdown = await startTelemetry();
  process.once("beforeExit", () => stopTelemetry());
}
