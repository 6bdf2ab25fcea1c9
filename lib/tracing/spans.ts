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

/** Runs `work` in a span; the span ends with it, and what it throws stands on the span. */
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
 * Writes an error on a span: its type from the catalogue, and what happened. An error that is the caller's
 * fault is no failure of the server, as the conventions have it; the caller's own span fails by any, and so does
 * that of a message, which nobody waits for.
 */
export function recordFailure(span: Span, error: unknown, kind: SpanKind = SpanKind.INTERNAL): void {
  const { type, code, name, message, stack } = (error ?? {}) as Error & { type?: string; code?: unknown };
  const isCallers = typeof code === "number" && code >= 400 && code < 500;
  span.setAttribute("error.type", type ?? name ?? "_OTHER");
  if (isCallers && (kind === SpanKind.SERVER || kind === SpanKind.INTERNAL)) return;
  span.recordException({ name: type ?? name ?? "Error", message: message ?? String(error), stack });
  span.setStatus({ code: SpanStatusCode.ERROR, message: type ?? message });
}

export interface WorkInTrace {
  /** Other traces that this work has to do with, as `traceparent`s. */
  links?: readonly (string | undefined)[];
  /** CONSUMER unless told otherwise: the work goes on after a message. */
  kind?: SpanKind;
  attributes?: Attributes;
}

/**
 * Runs `work` in a span that continues the trace of an earlier work, which may be long over: of the message that
 * asked for it, or of the order that it is about. Without a `traceparent` the work begins a trace of its own.
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
 * Makes the span that a message comes from, below the work that says it. Whoever handles the message, once or many
 * times and much later, is a child of it.
 * @returns the `traceparent` for the message; undefined where nothing is traced
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
  const said = context.active();
  const span = tracer().startSpan(`create ${type}`, { kind: SpanKind.PRODUCER, attributes }, said);
  span.end();
  return traceHeaders(trace.setSpan(said, span)).traceparent;
}

/** Adds to the span of the work that runs now that it has to do with another trace as well. */
export function linkTo(traceparent: string | undefined): void {
  if (isTraced()) trace.getActiveSpan()?.addLinks(linksTo([traceparent]));
}

/** Runs what serves everybody (a sweep, a relay) outside of the trace of whoever happened to wake it. */
export function outsideOfTraces<T>(work: () => T): T {
  return context.with(ROOT_CONTEXT, work);
}
