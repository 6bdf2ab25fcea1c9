import { fail } from "../../contracts/errors.ts";
import type { Clock } from "../../lib/clock.ts";

const WINDOW_SECONDS = 60;
const MAX_COUNTED = 200_000;

/** What one limit allows in a window of a minute; 0 allows everything. */
export interface Limits {
  address: number;
  user: number;
  "sign-in": number;
}
export type LimitName = keyof Limits;

export interface Count {
  hits: number;
  /** When the window ends, in milliseconds of Unix time. */
  endsAtMs: number;
}

/** Where hits are counted. Gateways that share a limit share the counters. */
export interface Counters {
  /** Counts one more hit in the running window of `key`. */
  hit(key: string, windowMs: number): Promise<Count> | Count;
}

/** Counters of one process: bounded, and forgotten when their window has ended. */
export function memoryCounters(clock: Clock): Counters {
  const counts = new Map<string, Count>();
  let endsAtMs = 0;
  return {
    hit(key, windowMs) {
      const nowMs = clock.now();
      // All windows begin and end together, so forgetting costs one clear and not a timer for each key.
      if (nowMs >= endsAtMs || counts.size >= MAX_COUNTED) {
        counts.clear();
        endsAtMs = nowMs - (nowMs % windowMs) + windowMs;
      }
      const count = counts.get(key) ?? { hits: 0, endsAtMs };
      count.hits += 1;
      counts.set(key, count);
      return count;
    },
  };
}

export interface Limiter {
  /**
   * Counts a request against one limit.
   * @returns what the client is told of it; undefined where there is no limit
   * @throws TOO_MANY_REQUESTS with `retryAfterSeconds`, and with `standing` for the headers
   */
  take(name: LimitName, subject: string): Promise<Standing | undefined>;
}

/** How a client stands with one limit, for the headers of draft-ietf-httpapi-ratelimit-headers. */
export interface Standing {
  name: LimitName;
  limit: number;
  left: number;
  resetSeconds: number;
}

export function limiter(limits: Limits, counters: Counters, clock: Clock): Limiter {
  return {
    async take(name, subject) {
      const limit = limits[name];
      if (limit === 0) return undefined;
      const { hits, endsAtMs } = await counters.hit(`${name}:${subject}`, WINDOW_SECONDS * 1000);
      const resetSeconds = Math.max(1, Math.ceil((endsAtMs - clock.now()) / 1000));
      return { name, limit, left: limit - hits, resetSeconds };
    },
  };
}

/** @throws TOO_MANY_REQUESTS when nothing is left */
export function refuseBeyond(standing: Standing | undefined): void {
  if (!standing || standing.left >= 0) return;
  const { resetSeconds } = standing;
  throw fail("TOO_MANY_REQUESTS", `Try again in ${resetSeconds} s.`, { retryAfterSeconds: resetSeconds });
}

export function limitHeaders(standings: readonly Standing[]): Record<string, string> {
  if (standings.length === 0) return {};
  const policies = standings.map(({ name, limit }) => `"${name}";q=${limit};w=${WINDOW_SECONDS}`);
  const states = standings.map(
    ({ name, left, resetSeconds }) => `"${name}";r=${Math.max(0, left)};t=${resetSeconds}`,
  );
  return { "RateLimit-Policy": policies.join(", "), RateLimit: states.join(", ") };
}
