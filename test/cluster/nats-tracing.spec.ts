import { afterAll, beforeEach, describe, expect, it } from "@jest/globals";
import { trace } from "@opentelemetry/api";
import { connect } from "nats";
import { eventually } from "../support/eventually.ts";
import { userDeleted } from "../support/messaging.ts";
import { natsStage } from "../support/nats-stage.ts";
import { recordSpans } from "../support/spans.ts";

const { ended, stop } = recordSpans();
const nats = natsStage();
beforeEach(() => {
  ended.length = 0;
});
afterAll(stop);

describe("a message over JetStream, sent within a trace,", () => {
  it("carries the trace to its handler and to other readers of the stream", async () => {
    await nats.bench.receiver(nats.net.connect(), {
      "user.deleted": { inTransaction: async () => undefined },
    });
    const sender = await nats.bench.sender(nats.net.connect());
    const { traceId } = await trace.getTracer("test").startActiveSpan("the change", async (span) => {
      await sender.db.transact((trx) => sender.out.add(trx, [userDeleted()]));
      span.end();
      return span.spanContext();
    });
    const named = (name: string) => ended.filter((span) => span.name === name);
    await eventually(() => expect(named("process user.deleted")).toHaveLength(1));
    const [made] = named("create user.deleted");
    const [handled] = named("process user.deleted");
    expect(made?.spanContext().traceId).toBe(traceId);
    expect(handled?.spanContext().traceId).toBe(traceId);
    expect(handled?.parentSpanContext?.spanId).toBe(made?.spanContext().spanId);

    const connection = await connect({ servers: nats.server.url });
    const manager = await connection.jetstreamManager();
    const stored = await manager.streams.getMessage(nats.net.stream, { seq: 1 });
    expect(stored.header.get("traceparent")).toContain(`${traceId}-${made?.spanContext().spanId}`);
    await connection.close();
  });
});
