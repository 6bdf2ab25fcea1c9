import { SpanKind } from "@opentelemetry/api";
import { NodeSDK } from "@opentelemetry/sdk-node";

type Options = NonNullable<ConstructorParameters<typeof NodeSDK>[0]>;
type Processor = NonNullable<Options["spanProcessors"]>[number];
export type RecordedSpan = Parameters<Processor["onEnd"]>[0];

/** Collects the spans of this process. To be started before the brokers that it shall see. */
export function recordSpans() {
  const ended: RecordedSpan[] = [];
  const recorder: Processor = {
    onStart: () => undefined,
    onEnd: (span) => void ended.push(span),
    forceFlush: async () => undefined,
    shutdown: async () => undefined,
  };
  const sdk = new NodeSDK({
    spanProcessors: [recorder],
    metricReaders: [],
    logRecordProcessors: [],
    instrumentations: [],
    autoDetectResources: false,
  });
  sdk.start();
  return { ended, stop: () => sdk.shutdown() };
}

/** `CLIENT probe/relay` and the like: what a span is, in a line. */
export function titleOf({ kind, name }: { kind: SpanKind; name: string }): string {
  return `${SpanKind[kind]} ${name}`;
}
