import { afterAll, afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { fail } from "../../contracts/errors.ts";
import { inProcessMessageBus } from "../../providers/message-bus/index.ts";
import { eventually } from "../support/eventually.ts";
import { GROUP, type MessagingBench, messagingBench, userDeleted } from "../support/messaging.ts";
import { recordSpans } from "../support/spans.ts";

const { ended, stop } = recordSpans();
let bench: MessagingBench;
beforeEach(async () => {
  ended.length = 0;
  bench = await messagingBench();
});
afterEach(() => bench.stop());
afterAll(stop);

const named = (name: string) => ended.filter((span) => span.name === name);

describe("a message, sent within a trace,", () => {
  it("carries the trace to its handler, whose failures are on their span", async () => {
    const messageBus = inProcessMessageBus({ groups: [GROUP] });
    let tries = 0;
    let seen: string | undefined;
    await bench.receiver(messageBus, {
      "user.deleted": {
        async inTransaction() {
          tries += 1;
          seen = trace.getActiveSpan()?.spanContext().spanId;
          if (tries === 1) throw fail("NOT_FOUND", "the first time fails");
        },
      },
    });
    const sender = await bench.sender(messageBus);
    const tracer = trace.getTracer("test");
    const { traceId, spanId } = await tracer.startActiveSpan("the change", async (span) => {
      await sender.db.transact((trx) => sender.out.add(trx, [userDeleted()]));
      span.end();
      return span.spanContext();
    });
    await eventually(() => expect(tries).toBe(2));
    await eventually(() => expect(named("process user.deleted")).toHaveLength(2));
    const [made] = named("create user.deleted");
    expect(made?.kind).toBe(SpanKind.PRODUCER);
    expect(made?.parentSpanContext?.spanId).toBe(spanId);
    for (const span of named("process user.deleted")) {
      expect(span.spanContext().traceId).toBe(traceId);
      expect(span.parentSpanContext?.spanId).toBe(made?.spanContext().spanId);
      expect(span.kind).toBe(SpanKind.CONSUMER);
    }
    const [failed, succeeded] = named("process user.deleted");
    expect(failed).toMatchObject({
      status: { code: SpanStatusCode.ERROR },
      attributes: { "error.type": "NOT_FOUND", "messaging.consumer.group.name": GROUP },
    });
    expect(failed?.events[0]?.attributes?.["exception.message"]).toBe("the first time fails");
    expect(succeeded?.status.code).toBe(SpanStatusCode.UNSET);
    expect(seen).toBe(succeeded?.spanContext().spanId);
  });

  it("becomes a dead letter within the trace, and so does the message about that", async () => {
    const messageBus = inProcessMessageBus({ groups: [GROUP] });
    let said: string | undefined;
    await bench.receiver(messageBus, {
      "user.deleted": {
        schedule: [],
        async inTransaction() {
          throw new Error("for good");
        },
        async dead() {
          said = trace.getActiveSpan()?.spanContext().traceId;
        },
      },
    });
    const sender = await bench.sender(messageBus);
    const traceId = await trace.getTracer("test").startActiveSpan("the change", async (span) => {
      await sender.db.transact((trx) => sender.out.add(trx, [userDeleted()]));
      span.end();
      return span.spanContext().traceId;
    });
    await eventually(() => expect(said).toBe(traceId));
  });

  it("is published outside of the trace, because the relay serves all traces", async () => {
    const messageBus = inProcessMessageBus({ groups: [GROUP] });
    let active: unknown = "not yet";
    const publish: typeof messageBus.publish = async (messages) => {
      active = trace.getActiveSpan();
      await messageBus.publish(messages);
    };
    await bench.receiver(messageBus, { "user.deleted": { inTransaction: async () => undefined } });
    const sender = await bench.sender({ ...messageBus, publish });
    await trace.getTracer("test").startActiveSpan("the change", async (span) => {
      await sender.db.transact((trx) => sender.out.add(trx, [userDeleted()]));
      span.end();
    });
    await eventually(() => expect(active).toBeUndefined());
  });
});
