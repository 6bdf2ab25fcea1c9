import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import { descend, type ExportedSpan, exportedAttributes, exportedTitle } from "../support/otlp-server.ts";
import { APP_SPAN_ID, confirm, startTraced, TRACE_ID, type Traced } from "./traced.ts";
import { check } from "./world.ts";

const OTHER_TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736";
const STATUS_ERROR = 2;

let traced: Traced;
beforeAll(async () => {
  traced = await startTraced();
});
afterAll(() => traced?.stop());

const ofTrace = (traceId: string) => traced.collector.spans.filter((span) => span.traceId === traceId);

/** Down the order's trace; waits until it has been exported. */
const down = (from: string | undefined, ...titles: string[]) =>
  eventually(() => descend(ofTrace(TRACE_ID), from, titles));
const last = async (spans: Promise<ExportedSpan[]>) => (await spans).at(-1) as ExportedSpan;

const orderConfirmed = () =>
  last(
    down(
      APP_SPAN_ID,
      "SERVER POST /api/v1/orders/confirm",
      "INTERNAL api/rest",
      "CLIENT orders/confirm",
      "SERVER orders/confirm",
    ),
  );
const paymentReceived = async () => last(down((await orderConfirmed()).spanId, "INTERNAL payment received"));
const partnerTold = async () =>
  last(
    down(
      (await paymentReceived()).spanId,
      "PRODUCER create order.paid",
      "CONSUMER process order.paid @partners",
      "INTERNAL webhook order.paid",
      "CLIENT POST",
    ),
  );
const traceparentOf = ({ traceId, spanId }: ExportedSpan) => `00-${traceId}-${spanId}-01`;
const attributes = (span: ExportedSpan | undefined) => exportedAttributes(span ?? {});

/** The spans from a callback's request to the action in which Orders commits it. */
const CALLBACK = [
  "SERVER POST /api/v1/webhooks/partners/{partner_id}",
  "INTERNAL api/rest",
  "CLIENT partners/receiveCallback",
  "SERVER partners/receiveCallback",
  "CLIENT orders/applyPartnerCallback",
  "SERVER orders/applyPartnerCallback",
];

describe("scenario 5 is one trace", () => {
  it("from the app's span over the gateway and the bridge to Orders, and on to Partners", async () => {
    const spans = await down(
      (await orderConfirmed()).spanId,
      "CLIENT partners/reserve",
      "SERVER partners/reserve",
    );
    for (const span of [await orderConfirmed(), ...spans]) {
      expect(attributes(span)).toMatchObject({ "rpc.system.name": "grpc" });
    }
  });

  it("with the request for the bank's page, as the header on the wire shows", async () => {
    const call = await last(down((await orderConfirmed()).spanId, "CLIENT POST"));
    expect(traced.asked.filter(([path]) => path === "POST /checkouts")).toEqual([
      ["POST /checkouts", traceparentOf(call)],
    ]);
  });

  it("with the request to refund the excess, by a worker in the background", async () => {
    const refund = await last(down((await orderConfirmed()).spanId, "INTERNAL refund"));
    const call = await last(down(refund.spanId, "CLIENT POST"));
    expect(traced.asked.filter(([path]) => path === "POST /refunds")).toEqual([
      ["POST /refunds", traceparentOf(call)],
    ]);
    await down(refund.spanId, "PRODUCER create refund.completed");
  });

  it("with the received payment, linked both ways, although the bank sent no context", async () => {
    const received = await paymentReceived();
    const [link] = received.links ?? [];
    expect(link?.traceId).not.toBe(TRACE_ID);
    const callback = await eventually(() => {
      const spans = ofTrace(link?.traceId as string);
      const chain = [
        "SERVER POST /api/v1/webhooks/payments/{bank_id}",
        "INTERNAL api/rest",
        "CLIENT orders/receivePayment",
        "SERVER orders/receivePayment",
      ];
      return descend(spans, undefined, chain).at(-1) as ExportedSpan;
    });
    expect(link?.spanId).toBe(callback.spanId);
    const back = (callback.links ?? []).map(({ traceId, spanId }) => ({ traceId, spanId }));
    expect(back).toEqual([{ traceId: TRACE_ID, spanId: (await orderConfirmed()).spanId }]);
  });

  it("with the message by which Partners notifies the partner, as the header on the wire shows", async () => {
    const call = await partnerTold();
    expect(traced.told.traceparent).toBe(traceparentOf(call));
    expect(attributes(call)).toMatchObject({
      "http.request.method": "POST",
      "http.response.status_code": "204",
      "waybill.webhook.type": "order.paid",
    });
  });

  it("with the message at each service that handles it, below the one span that created it", async () => {
    const { spanId } = await last(down((await paymentReceived()).spanId, "PRODUCER create order.paid"));
    for (const group of ["orders", "partners", "notifications"]) {
      await down(spanId, `CONSUMER process order.paid @${group}`);
    }
  });

  it("with the partner's callback: to Partners by bridge, to Orders by transporter", async () => {
    const spans = await down((await partnerTold()).spanId, ...CALLBACK, "PRODUCER create order.accepted");
    const ways = spans.slice(2, 6).map((span) => attributes(span)["rpc.system.name"]);
    expect(ways).toEqual(["grpc", "grpc", "moleculer", "moleculer"]);
  });

  it("also when the partner's callback has no context", async () => {
    const ready = await last(down((await orderConfirmed()).spanId, "INTERNAL order.ready"));
    await down(ready.spanId, "PRODUCER create order.ready", "CONSUMER process order.ready @notifications");
    const [link] = ready.links ?? [];
    const callback = await eventually(() =>
      descend(ofTrace(link?.traceId as string), undefined, CALLBACK).at(-1),
    );
    expect(link?.spanId).toBe(callback?.spanId);
  });

  it("without a gap: every span's parent exists, and no span belongs to other work", async () => {
    await partnerTold();
    await down((await orderConfirmed()).spanId, "INTERNAL order.ready", "PRODUCER create order.ready");
    await eventually(() => {
      const spans = ofTrace(TRACE_ID);
      const known = new Set([APP_SPAN_ID, ...spans.map(({ spanId }) => spanId)]);
      const orphans = spans.filter(({ parentSpanId }) => !known.has(parentSpanId as string));
      expect(orphans.map(exportedTitle)).toEqual([]);
    });
    const queries = ofTrace(TRACE_ID).flatMap((span) => attributes(span)["db.query.text"] ?? []);
    expect(queries.length).toBeGreaterThan(10);
    // Claiming a queue's rows serves all orders, so it belongs to none. An entry of the event log is about one order.
    const serving = queries.filter((sql) => /SKIP LOCKED|pg_advisory_xact_lock/.test(sql));
    expect(serving.filter((sql) => !sql.includes("event log"))).toEqual([]);
  });

  it("named by the order's history at each step, also in PostgreSQL", async () => {
    const steps = ["order.created", "order.paid", "order.accepted", "order.ready"];
    const first = (items: { type: string; trace_id: string }[]) =>
      items.filter(({ type }) => steps.includes(type)).map(({ type, trace_id }) => [type, trace_id]);
    const expected = steps.map((type) => [type, TRACE_ID]);
    await eventually(async () => {
      const { items } = await traced.api.ok<{ items: { type: string; trace_id: string }[] }>(
        `GET /orders/${traced.orderId}/history`,
        traced.me,
      );
      expect(first(items)).toEqual(expected);
    });
    const { history } = await traced.api.ok<{ history: { type: string; trace_id: string }[] }>(
      `GET /orders/${traced.orderId}/diagnosis`,
      { token: traced.root },
    );
    expect(first(history)).toEqual(expected);
  });
});

describe("a refusal", () => {
  it("has the catalogue's code on each span on its way, and its problem names the trace", async () => {
    const { check_id } = await check(traced.api, traced.me, traced.shop);
    const { body } = await confirm(traced, check_id, newId(), {
      traceparent: `00-${OTHER_TRACE_ID}-${APP_SPAN_ID}-01`,
    });
    expect(body).toMatchObject({ code: "bank_inactive", trace_id: OTHER_TRACE_ID });
    const spans = await eventually(() =>
      descend(ofTrace(OTHER_TRACE_ID), APP_SPAN_ID, [
        "SERVER POST /api/v1/orders/confirm",
        "INTERNAL api/rest",
        "CLIENT orders/confirm",
        "SERVER orders/confirm",
      ]),
    );
    const [request, , call, callee] = spans;
    for (const span of [request, call, callee]) {
      expect(attributes(span)["error.type"]).toBe("BANK_INACTIVE");
    }
    // Refusing is what the server is there for; it is the caller whose work came to nothing.
    expect([request, callee].map((span) => span?.status?.code ?? 0)).toEqual([0, 0]);
    expect(call?.status).toEqual({ code: STATUS_ERROR, message: "BANK_INACTIVE" });
    expect(call?.events?.map(exportedAttributes)).toMatchObject([{ "exception.type": "BANK_INACTIVE" }]);
  });

  it("of the gateway itself, for a request without context, names the trace that it created", async () => {
    const { body } = await confirm(traced, "no-id", traced.bankId);
    expect(body.code).toBe("validation_error");
    const [request] = await eventually(() =>
      descend(ofTrace(body.trace_id), undefined, ["SERVER POST /api/v1/orders/confirm"]),
    );
    expect(attributes(request)).toMatchObject({
      "error.type": "VALIDATION_ERROR",
      "http.response.status_code": "422",
    });
  });
});
