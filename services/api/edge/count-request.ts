import type { IncomingMessage } from "node:http";
import { type Limiter, type LimitKey, throwIfExceeded } from "../limits/limits.ts";
import { requestContextOf } from "./request-context.ts";

/** Reads change nothing, so their limits need no exact counting. */
export function isRead(req: IncomingMessage): boolean {
  return req.method === "GET" || req.method === "HEAD" || req.method === "OPTIONS";
}

/**
 * Counts a request against these limits and the deferred ones in one call of the counters.
 * @throws TOO_MANY_REQUESTS
 */
export async function countRequest(
  limiter: Limiter,
  req: IncomingMessage,
  keys: readonly LimitKey[],
): Promise<void> {
  const context = requestContextOf(req);
  const statuses = await limiter.consume([...context.deferredLimits.splice(0), ...keys], !isRead(req));
  context.limitStatuses.push(...statuses);
  throwIfExceeded(statuses);
}

/**
 * Defers a limit, so that it is counted in one call together with the limits that are known only after routing. A
 * client whose budget is exhausted is refused here, before any other work.
 * @throws TOO_MANY_REQUESTS
 */
export async function deferCount(limiter: Limiter, req: IncomingMessage, key: LimitKey): Promise<void> {
  if (limiter.isExhausted(key)) await countRequest(limiter, req, [key]);
  else requestContextOf(req).deferredLimits.push(key);
}
