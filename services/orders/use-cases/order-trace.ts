import { SpanKind } from "@opentelemetry/api";
import { currentTraceparent, inTraceOf, linkTo, traceIdOf } from "../../../lib/tracing/index.ts";
import type { Actor, ActorKind } from "../domain/order-model.ts";

/** An actor with the current trace, which is shown in the history. */
export function actorInTrace(kind: ActorKind, name: string): Actor {
  const traceId = traceIdOf(currentTraceparent());
  return traceId ? { kind, name, traceId } : { kind, name };
}

/**
 * Runs work on an order in the trace of its confirmation, so that the order has one trace. The current trace, as that of
 * a bank's callback or a timer, is linked in both directions.
 * @param traceparent the one that is stored with the order
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
