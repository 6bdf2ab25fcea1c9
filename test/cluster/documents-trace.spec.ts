import { execFile } from "node:child_process";
import { resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { type Ferretdb, startFerretdb } from "../servers/ferretdb.ts";
import { exportedAttributes, otlpServer } from "../support/otlp-server.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const CANARY = "canary-3f1d";

let server: Ferretdb;
let collector: Awaited<ReturnType<typeof otlpServer>>;
beforeAll(async () => {
  [server, collector] = await Promise.all([startFerretdb(), otlpServer()]);
});
afterAll(async () => {
  collector.close();
  await server.stop();
});

describe("the trace of a message that becomes a document", () => {
  it("continues in MongoDB and names the collection, but no content of the document", async () => {
    const code = `
      import { ServiceBroker } from "moleculer";
      import { documents } from "./mixins/documents/documents.mixin.ts";
      import { inTraceOf } from "./lib/tracing/index.ts";
      import { stopTelemetry } from "./platform/telemetry.ts";
      const place = { mongoUrl: process.env.MONGO_URL, database: ${JSON.stringify(newId())} };
      const events = documents({ ...place, collection: "events", indexes: [["orderId"]] });
      const broker = new ServiceBroker({ logger: false });
      broker.createService({ name: "holder", mixins: [events.mixin] });
      await broker.start();
      await events.find({});
      await inTraceOf("${TRACEPARENT}", "process order.paid", async () => {
        await events.put({ _id: "m1", orderId: "${CANARY}" });
        await events.get("m1");
      });
      await broker.stop();
      await stopTelemetry();`;
    await promisify(execFile)(
      process.execPath,
      [
        ...["--disable-warning=ExperimentalWarning", "--import", resolve(ROOT, "platform/telemetry.ts")],
        ...["--input-type=module", "-e", code],
      ],
      {
        cwd: ROOT,
        env: {
          ...process.env,
          MONGO_URL: server.url,
          OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
          OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
        },
      },
    );
    const { spans } = collector;
    const work = spans.find(({ name }) => name === "process order.paid");
    expect(work).toMatchObject({
      traceId: TRACEPARENT.split("-")[1],
      parentSpanId: TRACEPARENT.split("-")[2],
    });
    const below = spans.filter(({ parentSpanId }) => parentSpanId === work?.spanId);
    expect(below.map((span) => exportedAttributes(span))).toEqual([
      expect.objectContaining({ "db.collection.name": "events", "db.operation.name": "insert" }),
      expect.objectContaining({ "db.collection.name": "events", "db.operation.name": "find" }),
    ]);
    expect(JSON.stringify(spans)).not.toContain(CANARY);
    // Work without a trace (indexes at the start, polls) starts no trace of its own.
    expect(new Set(spans.map(({ traceId }) => traceId)).size).toBe(1);
  });
});
