import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import type { Context, ServiceBroker, ServiceSchema } from "moleculer";
import { fail } from "../../contracts/errors.ts";
import {
  currentTraceparent,
  failHttpSpan,
  inTraceOf,
  linkTo,
  nameHttpSpan,
  outsideOfTraces,
  traceIdOf,
  withHttpServerSpan,
} from "../../lib/tracing/index.ts";
import { tracing } from "../../mixins/tracing/tracing.middleware.ts";
import { actorInTrace, inOrderTrace } from "../../services/orders/use-cases/order-trace.ts";
import { cluster, offeredBy, probeService } from "../support/bridge.ts";
import { eventually } from "../support/eventually.ts";
import { type RecordedSpan, recordSpans, titleOf } from "../support/spans.ts";

const TRACE_ID = "0af7651916cd43dd8448eb211c80319c";
const REMOTE = `00-${TRACE_ID}-b7ad6b7169203331-01`;

const { ended, stop } = recordSpans();
const nodes = cluster();
let front: ServiceBroker;
let http: Server;
/** The traceparent of each request on the wire, by its purpose. */
const wire: Record<string, string | undefined> = {};
let failures = 0;

const farService: ServiceSchema = {
  name: "far",
  actions: {
    pong(ctx: Context<unknown, object, object, { traceparent?: string }>) {
      wire.transporter = ctx.headers.traceparent;
      return {};
    },
    refuse: () => {
      throw fail("ILLEGAL_TRANSITION", "Not now.");
    },
    break: () => {
      throw new TypeError("a slip");
    },
    strict: { params: { $$strict: true, name: "string" }, handler: () => ({}) },
    flaky: {
      retryPolicy: { enabled: true },
      handler() {
        failures += 1;
        if (failures === 1) throw fail("SERVICE_UNAVAILABLE");
        return {};
      },
    },
  },
  events: {
    "probe.relayed"(ctx: Context<unknown, object, object, { traceparent?: string }>) {
      wire.event = ctx.headers.traceparent;
    },
  },
};

beforeAll(async () => {
  const [{ broker }] = await Promise.all([
    nodes.start({
      nodeID: "front",
      middlewares: [tracing()],
      services: () => [
        {
          name: "api",
          actions: { relay: (ctx: Context) => ctx.call("probe.relay", { action: "far.pong" }) },
        },
      ],
    }),
    nodes.start({
      nodeID: "probe",
      middlewares: [tracing()],
      services: (state) => [probeService(state)],
    }),
    nodes.start({ nodeID: "far", middlewares: [tracing()], services: () => [farService] }),
  ]);
  front = broker;
  await Promise.all([offeredBy(front, "probe.relay", 1), offeredBy(front, "far.pong", 1)]);
  http = createServer((request, response) =>
    withHttpServerSpan(request, response, () => handle(request, response)),
  );
  await new Promise<void>((listening) => http.listen(0, "127.0.0.1", listening));
});
afterAll(async () => {
  http.close();
  await nodes.stopAll();
  await stop();
});
beforeEach(() => {
  ended.length = 0;
  for (const key of Object.keys(wire)) delete wire[key];
});

async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const route = request.url?.startsWith("/track/") ? "/track/{token}" : "/orders/:id";
  const traceId = nameHttpSpan(request, request.url === "/lost/letter" ? undefined : route, "r-1");
  if (request.url === "/orders/broken") {
    failHttpSpan(request, "INTERNAL", new TypeError("a slip of the gateway"));
    response.writeHead(500).end();
    return;
  }
  await front.call("api.relay", {}, { meta: { requestId: "r-1" } }).catch(() => response.writeHead(500));
  response.end(traceId);
}

async function get(headers: Record<string, string> = {}, path = "/orders/17?secret=1"): Promise<string> {
  const { port } = http.address() as { port: number };
  return (await fetch(`http://127.0.0.1:${port}${path}`, { headers })).text();
}

function spanOf(title: string): RecordedSpan {
  const found = ended.filter((span) => titleOf(span) === title);
  if (found.length !== 1) throw new Error(`${found.length} spans are ${title}`);
  return found[0] as RecordedSpan;
}

const HTTP = "SERVER GET /orders/:id";

describe("one request", () => {
  it("over HTTP, bridge, transporter and event, is one trace in which each span has the right parent", async () => {
    await get({ traceparent: REMOTE });
    const chain = [
      HTTP,
      "INTERNAL api/relay",
      "CLIENT probe/relay",
      "SERVER probe/relay",
      "CLIENT far/pong",
      "SERVER far/pong",
    ];
    await eventually(() => [...chain, "CONSUMER process probe.relayed"].map(spanOf));
    expect(spanOf(HTTP).parentSpanContext?.spanId).toBe("b7ad6b7169203331");
    for (const [index, title] of chain.slice(1).entries()) {
      expect(spanOf(title).parentSpanContext?.spanId).toBe(
        spanOf(chain[index] as string).spanContext().spanId,
      );
    }
    const event = spanOf("CONSUMER process probe.relayed");
    expect(event.parentSpanContext?.spanId).toBe(spanOf("SERVER probe/relay").spanContext().spanId);
    expect(new Set(ended.map((span) => span.spanContext().traceId))).toEqual(new Set([TRACE_ID]));
  });

  it("on the wire, carries the span of the call, not the active one", async () => {
    await get({ traceparent: REMOTE });
    await eventually(() => expect(wire).toHaveProperty("event"));
    expect(wire.transporter).toBe(`00-${TRACE_ID}-${spanOf("CLIENT far/pong").spanContext().spanId}-01`);
    expect(wire.event).toBe(`00-${TRACE_ID}-${spanOf("SERVER probe/relay").spanContext().spanId}-01`);
  });

  it("records the connection of each call and its request, by the conventions' names", async () => {
    const traceId = await get();
    await eventually(() => spanOf(HTTP));
    expect(spanOf(HTTP).attributes).toMatchObject({
      "http.request.method": "GET",
      "http.route": "/orders/:id",
      "url.path": "/orders/17",
      "http.response.status_code": 200,
      "waybill.request_id": "r-1",
    });
    expect(JSON.stringify(spanOf(HTTP).attributes)).not.toContain("secret");
    expect(spanOf(HTTP).spanContext().traceId).toBe(traceId);
    for (const kind of ["CLIENT", "SERVER"]) {
      expect(spanOf(`${kind} probe/relay`).attributes).toMatchObject({
        "rpc.system.name": "grpc",
        "rpc.method": "probe/relay",
        "waybill.request_id": "r-1",
      });
      expect(spanOf(`${kind} far/pong`).attributes).toMatchObject({ "rpc.system.name": "moleculer" });
    }
  });
});

describe("the path of a request", () => {
  it("with a token, is recorded without it, and an unknown path is not recorded", async () => {
    await get({}, "/track/c2VjcmV0LXRva2Vu");
    await get({}, "/lost/letter");
    await eventually(() => [spanOf("SERVER GET /track/{token}"), spanOf("SERVER GET")]);
    const track = spanOf("SERVER GET /track/{token}").attributes;
    expect(track).toMatchObject({ "http.route": "/track/{token}", "url.path": "/track/REDACTED" });
    expect(JSON.stringify(ended.map(({ attributes, name }) => [name, attributes]))).not.toContain("c2VjcmV0");
    expect(spanOf("SERVER GET").attributes).not.toHaveProperty("url.path");
  });
});

describe("a failure", () => {
  it("by the caller's fault, has its type on both spans and fails the caller's", async () => {
    await expect(front.call("far.refuse")).rejects.toMatchObject({ type: "ILLEGAL_TRANSITION" });
    expect(spanOf("CLIENT far/refuse")).toMatchObject({
      attributes: { "error.type": "ILLEGAL_TRANSITION" },
      status: { code: SpanStatusCode.ERROR, message: "ILLEGAL_TRANSITION" },
    });
    expect(spanOf("SERVER far/refuse")).toMatchObject({
      attributes: { "error.type": "ILLEGAL_TRANSITION" },
      status: { code: SpanStatusCode.UNSET },
    });
  });

  it("of our own, has its error on the server's span", async () => {
    await expect(front.call("far.break")).rejects.toThrow("a slip");
    const { status, events, attributes } = spanOf("SERVER far/break");
    expect(status.code).toBe(SpanStatusCode.ERROR);
    expect(attributes["error.type"]).toBe("TypeError");
    expect(events[0]?.attributes).toMatchObject({
      "exception.type": "TypeError",
      "exception.message": "a slip",
    });
  });

  it("of a request, has the catalogue's type and its error on the request's span", async () => {
    await get({}, "/orders/broken");
    const { status, events, attributes } = await eventually(() => spanOf(HTTP));
    expect(status.code).toBe(SpanStatusCode.ERROR);
    expect(attributes).toMatchObject({ "error.type": "INTERNAL", "http.response.status_code": 500 });
    expect(events[0]?.attributes?.["exception.message"]).toBe("a slip of the gateway");
  });

  it("of a message's handler fails the handler's span in every case", async () => {
    const work = inTraceOf(REMOTE, "process order.paid", async () => {
      throw fail("NOT_FOUND");
    });
    await expect(work).rejects.toMatchObject({ type: "NOT_FOUND" });
    expect(spanOf("CONSUMER process order.paid")).toMatchObject({
      attributes: { "error.type": "NOT_FOUND" },
      status: { code: SpanStatusCode.ERROR },
    });
  });

  it("of validation, before any handler, is inside of the span", async () => {
    await expect(front.call("far.strict", {})).rejects.toMatchObject({ type: "VALIDATION_ERROR" });
    expect(spanOf("SERVER far/strict").attributes["error.type"]).toBe("VALIDATION_ERROR");
  });

  it("that is repeated, has a span for each attempt, in one trace", async () => {
    await front.call("far.flaky");
    const tries = ended.filter((span) => titleOf(span) === "SERVER far/flaky");
    expect(tries.map(({ attributes }) => attributes["error.type"])).toEqual([
      "SERVICE_UNAVAILABLE",
      undefined,
    ]);
    expect(new Set(tries.map((span) => span.spanContext().traceId)).size).toBe(1);
  });
});

describe("work that continues later", () => {
  it("in the trace of an earlier request, is its child, and linked to its present cause", async () => {
    const now = await trace.getTracer("test").startActiveSpan("the bank's callback", async (span) => {
      const traceparent = currentTraceparent();
      await inTraceOf(REMOTE, "pay order", async () => expect(currentTraceparent()).toContain(TRACE_ID), {
        links: [traceparent, undefined, "nonsense"],
        kind: SpanKind.INTERNAL,
      });
      span.end();
      return span.spanContext();
    });
    const paid = spanOf("INTERNAL pay order");
    expect(paid.parentSpanContext?.spanId).toBe("b7ad6b7169203331");
    expect(paid.spanContext().traceId).toBe(TRACE_ID);
    expect(paid.links.map(({ context }) => context.spanId)).toEqual([now.spanId]);
  });

  it("without an earlier trace, begins its own and records its error", async () => {
    const work = inTraceOf(undefined, "sweep", async () => {
      throw fail("BANK_UNAVAILABLE");
    });
    await expect(work).rejects.toMatchObject({ type: "BANK_UNAVAILABLE" });
    expect(spanOf("CONSUMER sweep").parentSpanContext).toBeUndefined();
    expect(spanOf("CONSUMER sweep").attributes["error.type"]).toBe("BANK_UNAVAILABLE");
  });

  it("on an order, is in the order's trace, and each of the two traces has a link to the other", async () => {
    const actor = await inTraceOf(undefined, "a bank calls", () =>
      inOrderTrace(REMOTE, "order paid", async () => actorInTrace("bank", "a bank")),
    );
    expect(actor).toEqual({ kind: "bank", name: "a bank", traceId: TRACE_ID });
    const [call, work] = [spanOf("CONSUMER a bank calls"), spanOf("INTERNAL order paid")];
    expect(work.spanContext().traceId).toBe(TRACE_ID);
    expect(work.links.map(({ context }) => context.spanId)).toEqual([call.spanContext().spanId]);
    expect(call.links.map(({ context }) => context.traceId)).toEqual([TRACE_ID]);
  });

  it.each([
    ["in the order's own trace", REMOTE],
    ["without a trace of its order", undefined],
  ])("on an order, %s, adds no span", async (_, traceparent) => {
    await inTraceOf(REMOTE, "an order", () => inOrderTrace(traceparent, "order paid", async () => undefined));
    expect(ended.map(({ name }) => name)).toEqual(["an order"]);
    expect(ended[0]?.links).toEqual([]);
  });

  it("for all requests, is not part of the trace that woke it", async () => {
    await inTraceOf(REMOTE, "an order", async () => {
      expect(outsideOfTraces(currentTraceparent)).toBeUndefined();
      expect(currentTraceparent()).toContain(TRACE_ID);
    });
  });

  it("has a link to each other trace that it concerns", async () => {
    await inTraceOf(undefined, "claim", async () => {
      linkTo(REMOTE);
      linkTo(undefined);
    });
    expect(spanOf("CONSUMER claim").links.map(({ context }) => context.traceId)).toEqual([TRACE_ID]);
  });

  it.each([
    [REMOTE, TRACE_ID],
    [undefined, undefined],
    ["00-xyz", undefined],
    [`00-${"0".repeat(32)}-b7ad6b7169203331-01`, undefined],
    [`00-${TRACE_ID}-${"0".repeat(16)}-01`, undefined],
    [`ff-${TRACE_ID}-b7ad6b7169203331-01`, undefined],
  ])("the trace id of %p is %p", (traceparent, traceId) => {
    expect(traceIdOf(traceparent)).toBe(traceId);
  });
});
