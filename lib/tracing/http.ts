import type { IncomingMessage, ServerResponse } from "node:http";
import { type Context, context, type Span, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { fromHeaders, isTraced, tracer } from "./trace-context.ts";

const METHODS = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);
/** A placeholder whose name does not end in `id`, as `{token}`; also in the spelling `:token`. */
const SECRET_PART = /^(?:\{(?!\w*id\})\w+\}|:(?!\w*id$)\w+)$/;
const spans = new WeakMap<IncomingMessage, Span>();
const refused = new WeakSet<IncomingMessage>();

/** The trace that an HTTP client says its request belongs to, or none. */
export function fromHttpHeaders(headers: IncomingMessage["headers"]): Context {
  const { traceparent, tracestate } = headers;
  return fromHeaders({ traceparent, tracestate });
}

/**
 * Runs `handle` in the span of a request, which ends with its answer or when the client has gone. The span gets
 * no query, and a path only once its route says which parts of it are nobody's business.
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
 * Names the span of a request by the route that was found for it: `POST /api/v1/orders/:id/cancel`.
 * @returns the trace's id, for the answer and the log; undefined where nothing is traced
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
 * Writes on the span of a request why it is answered with a problem.
 * @param type the catalogue's
 * @param unexpected what was thrown, where the catalogue does not know it
 */
export function failHttpSpan(request: IncomingMessage, type: string, unexpected?: unknown): void {
  const span = spans.get(request);
  if (!span) return;
  refused.add(request);
  if (unexpected !== undefined) span.recordException(asException(unexpected));
  span.setAttribute("error.type", type);
}

/** The path with what is no id in it replaced: a tracking token in a span would let its readers in. */
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
