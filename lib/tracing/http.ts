import type { IncomingMessage, ServerResponse } from "node:http";
import { type Context, context, type Span, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { fromHeaders, isTraced, tracer } from "./trace-context.ts";

const METHODS = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);
/** A placeholder whose name does not end in `id`: `{token}` or `:token`. */
const SECRET_PART = /^(?:\{(?!\w*id\})\w+\}|:(?!\w*id$)\w+)$/;
const spans = new WeakMap<IncomingMessage, Span>();
const refused = new WeakSet<IncomingMessage>();

/** The trace context from the headers of an HTTP request; without them, a context without a trace. */
export function fromHttpHeaders(headers: IncomingMessage["headers"]): Context {
  const { traceparent, tracestate } = headers;
  return fromHeaders({ traceparent, tracestate });
}

/**
 * Runs `handle` in the span of a request. The span ends with the response or the connection. It never contains the query.
 * It gets the path after the route is known, which says which parts are secret.
 */
export function withHttpServerSpan<T>(
  request: IncomingMessage,
  response: ServerResponse,
  handle: () => T,
): T {
  if (!isTraced()) return handle();
  const parent = fromHttpHeaders(request.headers);
  const method = METHODS.has(request.method ?? "") ? (request.method as string) : "_OTHER";
  const span = tracer().startSpan(
    method === "_OTHER" ? "HTTP" : method,
    {
      kind: SpanKind.SERVER,
      attributes: {
        "http.request.method": method,
        "url.scheme": "http",
        "network.protocol.version": request.httpVersion,
        "client.address": request.socket.remoteAddress,
      },
    },
    parent,
  );
  spans.set(request, span);
  response.once("close", () => {
    span.setAttribute("http.response.status_code", response.statusCode);
    if (!response.writableFinished) span.setAttribute("error.type", "client_gone");
    if (response.statusCode >= 500) {
      if (!refused.has(request)) span.setAttribute("error.type", String(response.statusCode));
      span.setStatus({ code: SpanStatusCode.ERROR });
    }
    span.end();
  });
  return context.with(trace.setSpan(parent, span), handle);
}

/**
 * Names the span of a request by its route: `POST /api/v1/orders/:id/cancel`.
 * @returns the id of the trace, for the response and the log; undefined without tracing
 */
export function nameHttpSpan(
  request: IncomingMessage,
  route?: string,
  requestId?: string,
): string | undefined {
  const span = spans.get(request);
  if (!span) return undefined;
  if (route !== undefined) {
    span.updateName(`${request.method} ${route}`);
    span.setAttributes({ "http.route": route, "url.path": shownPath(request, route) });
  }
  if (requestId !== undefined) span.setAttribute("waybill.request_id", requestId);
  return span.spanContext().traceId;
}

/**
 * Records on the span of a request the problem of its response.
 * @param type the type in the error catalogue
 * @param unexpected the error, if it is not in the catalogue
 */
export function failHttpSpan(request: IncomingMessage, type: string, unexpected?: unknown): void {
  const span = spans.get(request);
  if (!span) return;
  refused.add(request);
  if (unexpected !== undefined) span.recordException(asException(unexpected));
  span.setAttribute("error.type", type);
}

/** The path, with secret parts replaced. A reader of the span could use a tracking token. */
function shownPath(request: IncomingMessage & { originalUrl?: string }, route: string): string {
  const path = (request.originalUrl ?? request.url ?? "").split("?", 1)[0] ?? "";
  const segments = path.split("/");
  const shown = route
    .split("/")
    .map((part, index) => (SECRET_PART.test(part) ? "REDACTED" : segments[index]));
  return shown.join("/");
}

function asException(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}
