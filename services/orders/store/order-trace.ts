import { SpanKind } from "@opentelemetry/api";
import { currentTraceparent, inTraceOf, linkTo, traceIdOf } from "../../../lib/tracing/index.ts";
import type { Actor, ActorKind } from "../domain/order-model.ts";

/** Who acts, with the trace that the history shall name. */
export function acting(kind: ActorKind, name: string): Actor {
  const traceId = traceIdOf(currentTraceparent());
  return traceId ? { kind, name, traceId } : { kind, name };
}

/**
 * Does what concerns an order in the trace that it was confirmed in. A bank's callback brings no trace and a
 * deadline has none; what brought the work here is linked in both directions, and what follows from it stays in the
 * order's one trace.
 * @param traceparent as it is stored with the order
 */
export function inOrderTrace<T>(
  traceparent: string | undefined,
  name: string,
  work: () => Promise<T>,
): Promise<T> {
  const now = currentTraceparent();
  if (!traceparent || traceIdOf(traceparent) === traceIdOf(now)) return work();
  linkTo(traceparent);
  return inTraceOf(traceparent, name, work, { links: [now], kind: SpanKind.INTERNAL });
}
