import type { Context, Middleware } from "moleculer";

const BUCKETS_MS = [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000];

interface Series {
  action: string;
  ok: number;
  /** By the type of the error. */
  errors: Map<string, number>;
  /** The number of calls by the bucket of `BUCKETS_MS` that they belong to. Longer calls are in no bucket. */
  buckets: number[];
  sumMs: number;
}

export interface CallMetrics {
  middleware: Middleware;
  /** In the text format of Prometheus. */
  text(): string;
}

/** Counts the calls of this process's actions, their outcomes and durations. */
export function callMetrics(): CallMetrics {
  const all = new Map<string, Series>();
  const seriesOf = (action: string) => {
    let series = all.get(action);
    if (!series) {
      series = { action, ok: 0, errors: new Map(), buckets: BUCKETS_MS.map(() => 0), sumMs: 0 };
      all.set(action, series);
    }
    return series;
  };
  return {
    middleware: {
      name: "CallMetrics",
      localAction(wrapped, action) {
        const next = wrapped as (ctx: Context) => Promise<unknown>;
        if (action.name?.startsWith("$")) return next;
        const name = action.name ?? "unknown";
        return async (ctx: Context) => {
          const series = seriesOf(name);
          const startedMs = performance.now();
          try {
            const result = await next(ctx);
            series.ok++;
            return result;
          } catch (error) {
            const type = (error as { type?: string } | undefined)?.type ?? "INTERNAL";
            series.errors.set(type, (series.errors.get(type) ?? 0) + 1);
            throw error;
          } finally {
            const tookMs = performance.now() - startedMs;
            series.sumMs += tookMs;
            const bucket = BUCKETS_MS.findIndex((limit) => tookMs <= limit);
            if (bucket >= 0) series.buckets[bucket] = (series.buckets[bucket] ?? 0) + 1;
          }
        };
      },
    },
    text: () => [...counters(all), ...histograms(all)].join("\n"),
  };
}

function* counters(all: Map<string, Series>): Generator<string> {
  yield "# HELP waybill_calls_total Calls that an action has answered, by outcome.";
  yield "# TYPE waybill_calls_total counter";
  for (const { action, ok, errors } of all.values()) {
    yield `waybill_calls_total{action="${action}",outcome="ok"} ${ok}`;
    for (const [type, count] of errors) {
      yield `waybill_calls_total{action="${action}",outcome="${labelValue(type)}"} ${count}`;
    }
  }
}

function* histograms(all: Map<string, Series>): Generator<string> {
  const name = "waybill_call_duration_seconds";
  yield `# HELP ${name} Duration of the calls of an action.`;
  yield `# TYPE ${name} histogram`;
  for (const { action, ok, errors, buckets, sumMs } of all.values()) {
    let upTo = 0;
    for (const [index, limitMs] of BUCKETS_MS.entries()) {
      upTo += buckets[index] ?? 0;
      yield `${name}_bucket{action="${action}",le="${limitMs / 1000}"} ${upTo}`;
    }
    const count = [...errors.values()].reduce((sum, value) => sum + value, ok);
    yield `${name}_bucket{action="${action}",le="+Inf"} ${count}`;
    yield `${name}_sum{action="${action}"} ${sumMs / 1000}`;
    yield `${name}_count{action="${action}"} ${count}`;
  }
}

/** Escapes a label's value for the text format of Prometheus. */
export function labelValue(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
