import { afterAll, afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { trace } from "@opentelemetry/api";
import { connect } from "nats";
import { type NatsServer, startNats } from "../servers/nats.ts";
import { eventually } from "../support/eventually.ts";
import { type MessagingBench, messagingBench, userDeleted } from "../support/messaging.ts";
import { carriers } from "../support/nats.ts";
import { recordSpans } from "../support/spans.ts";

const { ended, stop } = recordSpans();
let server: NatsServer;
let bench: MessagingBench;
let net: ReturnType<typeof carriers>;
beforeEach(async () => {
  ended.length = 0;
  [server, bench] = await Promise.all([startNats(), messagingBench()]);
  net = carriers(server);
});
afterEach(async () => {
  await bench.stop();
  await net.close();
  await server.remove();
});
afterAll(stop);

describe("a message over JetStream, said within a trace", () => {
  it("carries the trace to its handler, and on the wire to whoever else reads the stream", async () => {
    await bench.receiver(net.connect(), { "user.deleted": { apply: async () => undefined } });
    const sender = await bench.sender(net.connect());
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

    const connection = await connect({ servers: server.url });
    const manager = await connection.jetstreamManager();
    const stored = await manager.streams.getMessage(net.stream, { seq: 1 });
    expect(stored.header.get("traceparent")).toContain(`${traceId}-${made?.spanContext().spanId}`);
    await connection.close();
  });
});
