import { waitAtMost } from "../lib/timeout.ts";

/**
 * Loaded before all other modules (`node --import ./platform/telemetry.ts`). With OTEL_EXPORTER_OTLP_ENDPOINT, spans are
 * sent there in batches; without it, the SDK is not even loaded.
 */
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
async function startTelemetry(): Promise<() => Promise<void>> {
  const [{ NodeSDK }, { PgInstrumentation }, { UndiciInstrumentation }] = await Promise.all([
    import("@opentelemetry/sdk-node"),
    import("@opentelemetry/instrumentation-pg"),
    import("@opentelemetry/instrumentation-undici"),
  ]);
  const sdk = new NodeSDK({
    serviceName: process.env.OTEL_SERVICE_NAME ?? "waybill",
    instrumentations: [
      // Otherwise every query of the workers, which poll the database, would start a trace.
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

/** Its spans contain the command without values. */
async function mongodbInstrumentation() {
  const { MongoDBInstrumentation } = await import("@opentelemetry/instrumentation-mongodb");
  return new MongoDBInstrumentation({ requireParentSpan: true, enhancedDatabaseReporting: false });
}

/** Its spans contain only the command's name: keys contain client addresses and customer ids. */
async function redisInstrumentation() {
  const { IORedisInstrumentation } = await import("@opentelemetry/instrumentation-ioredis");
  return new IORedisInstrumentation({ requireParentSpan: true, dbStatementSerializer: (command) => command });
}

if (process.env.OTEL_EXPORTER_OTLP_ENDPOINT) {
  shutdown = await startTelemetry();
  process.once("beforeExit", () => stopTelemetry());
}
