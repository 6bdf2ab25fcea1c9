import {
  type Attributes,
  type Context,
  context,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  type SpanOptions,
  SpanStatusCode,
  trace,
} from "@opentelemetry/api";
import { fromHeaders, isTraced, linksTo, traceHeaders, tracer } from "./trace-context.ts";

/** Runs `work` in a span. The span ends with it and records its error. */
export async function inSpan<T>(
  name: string,
  options: SpanOptions,
  parent: Context,
  work: (span: Span) => Promise<T>,
): Promise<T> {
  const span = tracer().startSpan(name, options, parent);
  try {
    return await context.with(trace.setSpan(parent, span), () => work(span));
  } catch (error) {
    recordFailure(span, error, options.kind);
    throw error;
  } finally {
    span.end();
  }
}

/**
 * Records an error on a span: its type from the catalogue, and its text. By the OpenTelemetry conventions, a client error
 * (4xx) is no failure of a server span. It is a failure of a client span, and of the span of a message, which has no caller.
 */
export function recordFailure(span: Span, error: unknown, kind: SpanKind = SpanKind.INTERNAL): void {
  const { type, code, name, message, stack } = (error ?? {}) as Error & { type?: string; code?: unknown };
  const isClientError = typeof code === "number" && code >= 400 && code < 500;
  span.setAttribute("error.type", type ?? name ?? "_OTHER");
  if (isClientError && (kind === SpanKind.SERVER || kind === SpanKind.INTERNAL)) return;
  span.recordException({ name: type ?? name ?? "Error", message: message ?? String(error), stack });
  span.setStatus({ code: SpanStatusCode.ERROR, message: type ?? message });
}

export interface WorkInTrace {
  /** Other traces to link to, as `traceparent`s. */
  links?: readonly (string | undefined)[];
  /** Default: CONSUMER, for work that a message has caused. */
  kind?: SpanKind;
  attributes?: Attributes;
}

/**
 * Runs `work` in a span that continues an earlier trace, which may have ended long ago: that of the message or of the
 * order. Without a `traceparent` the work begins a new trace.
 */
export function inTraceOf<T>(
  traceparent: string | undefined,
  name: string,
  work: () => Promise<T>,
  { links = [], kind = SpanKind.CONSUMER, attributes = {} }: WorkInTrace = {},
): Promise<T> {
  if (!isTraced()) return work();
  const options = { kind, attributes, links: linksTo(links) };
  return inSpan(name, options, fromHeaders({ traceparent }), work);
}

/**
 * Creates the producer span of a message, as a child of the current span. Each handling of the message, also a late or
 * repeated one, is a child of it.
 * @returns the `traceparent` for the message; undefined without tracing
 */
export function traceparentOfMessage(type: string, id: string): string | undefined {
  if (!isTraced()) return undefined;
  const attributes = {
    "messaging.system": "waybill",
    "messaging.operation.name": "create",
    "messaging.operation.type": "create",
    "messaging.destination.name": type,
    "messaging.message.id": id,
  };
  const current = context.active();
  const span = tracer().startSpan(`create ${type}`, { kind: SpanKind.PRODUCER, attributes }, current);
  span.end();
  return traceHeaders(trace.setSpan(current, span)).traceparent;
}

/** Links the current span to another trace. */
export function linkTo(traceparent: string | undefined): void {
  if (isTraced()) trace.getActiveSpan()?.addLinks(linksTo([traceparent]));
}

/** Runs work for all (a sweep, a relay) outside of the trace that happened to wake it. */
export function outsideOfTraces<T>(work: () => T): T {
  return context.with(ROOT_CONTEXT, work);
}
