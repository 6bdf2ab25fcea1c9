import {
  type Context,
  context,
  type Link,
  ProxyTracerProvider,
  propagation,
  ROOT_CONTEXT,
  trace,
} from "@opentelemetry/api";

const TRACER = "waybill";
const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

/** The headers of the W3C trace context in HTTP requests, calls and messages. */
export interface TraceHeaders {
  traceparent?: string;
  tracestate?: string;
}

export function tracer() {
  return trace.getTracer(TRACER);
}

/** Whether an SDK collects spans in this process. Without one, nothing is wrapped and nothing is measured. */
export function isTraced(): boolean {
  const provider = trace.getTracerProvider();
  return !(provider instanceof ProxyTracerProvider) || provider.getDelegateTracer(TRACER) !== undefined;
}

/** The headers that continue the current trace; empty when there is none. */
export function traceHeaders(of: Context = context.active()): TraceHeaders {
  const headers: TraceHeaders = {};
  propagation.inject(of, headers);
  return headers;
}

/** The W3C `traceparent` of the current trace; undefined when there is none. */
export function currentTraceparent(): string | undefined {
  return traceHeaders().traceparent;
}

/** The trace id, 32 hexadecimal digits, within a `traceparent`; undefined for anything else. */
export function traceIdOf(traceparent: string | undefined): string | undefined {
  return traceparent === undefined ? undefined : TRACEPARENT.exec(traceparent)?.[1];
}

/** The context from the headers of a caller, or one without a trace. Never the context that is active here. */
export function fromHeaders(headers: object): Context {
  return propagation.extract(ROOT_CONTEXT, headers);
}

/** Links to the spans of these `traceparent`s; invalid ones are omitted. */
export function linksTo(traceparents: readonly (string | undefined)[]): Link[] {
  return traceparents.flatMap((traceparent) => {
    const named = trace.getSpanContext(fromHeaders({ traceparent }));
    return named ? [{ context: named }] : [];
  });
}
