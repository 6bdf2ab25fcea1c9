import { context, propagation, ROOT_CONTEXT, trace } from "@opentelemetry/api";
import type { Actor, ActorKind } from "./order-model.ts";

/** The W3C trace context of the work that runs now; undefined where nothing is traced. */
export function currentTraceparent(): string | undefined {
  const carrier: { traceparent?: string } = {};
  propagation.inject(context.active(), carrier);
  return carrier.traceparent;
}

/** Links the work that runs now to the trace of an earlier one, whose caller could not carry it along. */
export function linkTo(traceparent: string | undefined): void {
  if (!traceparent) return;
  const earlier = trace.getSpanContext(propagation.extract(ROOT_CONTEXT, { traceparent }));
  if (earlier) trace.getActiveSpan()?.addLink({ context: earlier });
}

/** Who acts, with the trace that the history shall name. */
export function acting(kind: ActorKind, name: string): Actor {
  const traceId = trace.getActiveSpan()?.spanContext().traceId;
  return traceId ? { kind, name, traceId } : { kind, name };
}
