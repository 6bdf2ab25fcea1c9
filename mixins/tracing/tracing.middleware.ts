import { type Attributes, context, SpanKind } from "@opentelemetry/api";
import type { Context, Middleware } from "moleculer";
import type { Locals, Meta } from "../../contracts/meta.ts";
import { inSpan } from "../../lib/tracing/spans.ts";
import { fromHeaders, isTraced, traceHeaders } from "../../lib/tracing/trace-context.ts";

type Handler = (ctx: Context) => Promise<unknown>;
type Emit = (name: string, payload?: unknown, options?: unknown) => Promise<unknown>;

/**
 * Creates a span for every action that runs here, every call to another node and every handled event, and sends W3C trace
 * context in `ctx.headers`. Without a registered SDK at the creation of the broker, nothing is wrapped. It may have any
 * position among the middlewares: around actions it is the outermost one, so the span includes validation, caching,
 * retries and timeouts.
 */
export function tracing(): Middleware {
  if (!isTraced()) return { name: "tracing" };
  const outermost = {
    name: "tracingOutermost",
    localAction: around(runs),
    remoteAction: around(calls),
    localEvent: around(handles),
  } as unknown as Middleware;
  // The framework's types of these two hooks lack the returned function.
  const senders = { emit: carrying, broadcast: carrying } as unknown as Middleware;
  return {
    ...senders,
    name: "tracing",
    created(broker) {
      broker.middlewares.add(outermost);
    },
  };
}

/** Internal actions and events of the broker, whose names begin with a dollar sign, get no span. */
function around(traced: (ctx: Context, next: Handler) => Promise<unknown>) {
  return (next: Handler, { name }: { name?: string }): Handler =>
    name?.startsWith("$") ? next : (ctx) => traced(ctx, next);
}

function runs(ctx: Context, next: Handler): Promise<unknown> {
  const { peer, wire } = ctx.locals as Locals;
  // With the in-memory transporter the context of the caller is still active here, so the headers decide.
  const isRemote = peer !== undefined || ctx.nodeID !== ctx.broker.nodeID;
  const parent = isRemote ? fromHeaders(ctx.headers) : context.active();
  const kind = isRemote ? SpanKind.SERVER : SpanKind.INTERNAL;
  const attributes = { ...attributesOf(ctx), ...(isRemote && { "rpc.system.name": wire ?? "moleculer" }) };
  return inSpan(methodOf(ctx), { kind, attributes }, parent, () => next(ctx));
}

function calls(ctx: Context, next: Handler): Promise<unknown> {
  const attributes = { ...attributesOf(ctx), "waybill.node": ctx.nodeID ?? undefined };
  return inSpan(methodOf(ctx), { kind: SpanKind.CLIENT, attributes }, context.active(), async (span) => {
    ctx.headers = { ...ctx.headers, ...traceHeaders() };
    try {
      return await next(ctx);
    } finally {
      span.setAttribute("rpc.system.name", (ctx.locals as Locals).wire ?? "moleculer");
    }
  });
}

function handles(ctx: Context, next: Handler): Promise<unknown> {
  const event = ctx.eventName ?? "";
  if (event.startsWith("$")) return next(ctx);
  const attributes = {
    "messaging.system": "moleculer",
    "messaging.operation.name": "process",
    "messaging.operation.type": "process",
    "messaging.destination.name": event,
  };
  const options = { kind: SpanKind.CONSUMER, attributes };
  return inSpan(`process ${event}`, options, fromHeaders(ctx.headers), async () => next(ctx));
}

/** An event goes out with the trace of the work that emits it. */
function carrying(next: Emit): Emit {
  return (name, payload, options) => {
    const trace = traceHeaders();
    if (trace.traceparent === undefined) return next(name, payload, options);
    const isGroups = typeof options === "string" || Array.isArray(options);
    const given = (isGroups ? { groups: options } : { ...(options as object) }) as { headers?: object };
    return next(name, payload, { ...given, headers: { ...given.headers, ...trace } });
  };
}

function methodOf(ctx: Context): string {
  return (ctx.action?.name ?? "").replace(/\.(?=[^.]*$)/, "/");
}

function attributesOf(ctx: Context): Attributes {
  const { requestId } = ctx.meta as Meta;
  return { "rpc.method": methodOf(ctx), ...(requestId && { "waybill.request_id": requestId }) };
}
