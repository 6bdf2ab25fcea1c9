import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { NodeSDK } from "@opentelemetry/sdk-node";
import { inProcessCarrier } from "../../providers/carrier/index.ts";
import { eventually } from "../support/eventually.ts";
import { GROUP, type MessagingBench, messagingBench, userDeleted } from "../support/messaging.ts";

type Processor = NonNullable<NonNullable<ConstructorParameters<typeof NodeSDK>[0]>["spanProcessors"]>[number];
type Span = Parameters<Processor["onEnd"]>[0];

const ended: Span[] = [];
const recorder: Processor = {
  onStart: () => undefined,
  onEnd: (span) => void ended.push(span),
  forceFlush: async () => undefined,
  shutdown: async () => undefined,
};
const sdk = new NodeSDK({ spanProcessors: [recorder], instrumentations: [], autoDetectResources: false });

let bench: MessagingBench;
beforeAll(async () => {
  sdk.start();
  bench = await messagingBench();
});
afterAll(async () => {
  await bench.stop();
  await sdk.shutdown();
});

describe("a message, said within a trace", () => {
  it("carries the trace to its handler, whose failures stand on their span", async () => {
    const carrier = inProcessCarrier({ groups: [GROUP] });
    let tries = 0;
    let seen: string | undefined;
    await bench.receiver(carrier, {
      "user.deleted": {
        async apply() {
          tries += 1;
          seen = trace.getActiveSpan()?.spanContext().spanId;
          if (tries === 1) throw new Error("the first time fails");
        },
      },
    });
    const sender = await bench.sender(carrier);
    const tracer = trace.getTracer("test");
    const { traceId, spanId } = await tracer.startActiveSpan("the change", async (span) => {
      await sender.db.transact((trx) => sender.out.add(trx, [userDeleted()]));
      span.end();
      return span.spanContext();
    });
    await eventually(() => expect(tries).toBe(2));
    const handled = () => ended.filter(({ name }) => name === "process user.deleted");
    await eventually(() => expect(handled()).toHaveLength(2));
    for (const span of handled()) {
      expect(span.spanContext().traceId).toBe(traceId);
      expect(span.parentSpanContext?.spanId).toBe(spanId);
      expect(span.kind).toBe(SpanKind.CONSUMER);
    }
    const [failed, succeeded] = handled();
    expect(failed?.status).toMatchObject({ code: SpanStatusCode.ERROR });
    expect(failed?.events[0]?.attributes?.["exception.message"]).toBe("the first time fails");
    expect(succeeded?.status.code).toBe(SpanStatusCode.UNSET);
    expect(seen).toBe(succeeded?.spanContext().spanId);
  });
});
