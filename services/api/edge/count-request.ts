import type { IncomingMessage } from "node:http";
import { type Limiter, type LimitKey, refuseBeyond } from "../limits/limits.ts";
import { exchangeOf } from "./request-context.ts";

/** A read that is one too many harms nobody. */
export function isRead(req: IncomingMessage): boolean {
  return req.method === "GET" || req.method === "HEAD" || req.method === "OPTIONS";
}

/**
 * Counts a request against these limits and those that were put off until now, all in one go.
 * @throws TOO_MANY_REQUESTS
 */
export async function count(
  limiter: Limiter,
  req: IncomingMessage,
  wants: readonly LimitKey[],
): Promise<void> {
  const exchange = exchangeOf(req);
  const standings = await limiter.take([...exchange.uncounted.splice(0), ...wants], !isRead(req));
  exchange.standings.push(...standings);
  refuseBeyond(standings);
}

/**
 * Has a limit counted later, together with those that come to light only after routing: one question to the
 * counters and not two. Whoever has nothing left is refused here, before any work.
 * @throws TOO_MANY_REQUESTS
 */
export async function countLater(limiter: Limiter, req: IncomingMessage, want: LimitKey): Promise<void> {
  if (limiter.refuses(want)) await count(limiter, req, [want]);
  else exchangeOf(req).uncounted.push(want);
}
