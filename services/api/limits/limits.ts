import { fail } from "../../../contracts/errors.ts";
import type { Clock } from "../../../lib/clock.ts";

export const WINDOW_MS = 60_000;
const MAX_COUNTED_KEYS = 200_000;

/** Requests allowed in a window of a minute, by limit. 0 switches a limit off. */
export interface Limits {
  address: number;
  user: number;
  "sign-in": number;
}
export type LimitName = keyof Limits;

/** One limit that applies to a request, and the user or network whose budget the request uses. */
export interface LimitKey {
  name: LimitName;
  subject: string;
}

/** Takes one hit from a budget. */
export interface Consume {
  key: string;
  limit: number;
}

export interface Count {
  /** Hits in the current window, including this one. Above the limit, the hit was refused. */
  hits: number;
  /** End of the window, in milliseconds of Unix time. */
  endsAtMs: number;
}

/** Counts hits. Gateways that share a limit share the counters. */
export interface Counters {
  /**
   * Takes a hit from each budget, in order, up to the first that is exhausted.
   * @param exact false allows a gateway to lease several hits at once and to count them locally
   * @returns a count for each budget up to the first exhausted one; undefined for one that cannot be counted now
   */
  consume(requests: readonly Consume[], exact: boolean): Promise<(Count | undefined)[]>;
  /** Whether this process knows that the budget is exhausted. Never calls Redis. */
  isExhausted(budget: Consume): boolean;
  /** Hits that this process has leased and not used yet. */
  leased(): number;
}

/** Counters in the memory of one process. They are cleared at the end of each window. */
export function memoryCounters(clock: Clock): Counters {
  const counts = new Map<string, Count>();
  let endsAtMs = 0;
  const hit = (key: string): Count => {
    const nowMs = clock.now();
    // All windows start and end together: one clear replaces a timer for each key.
    if (nowMs >= endsAtMs || counts.size >= MAX_COUNTED_KEYS) {
      counts.clear();
      endsAtMs = nowMs - (nowMs % WINDOW_MS) + WINDOW_MS;
    }
    const count = { hits: (counts.get(key)?.hits ?? 0) + 1, endsAtMs };
    counts.set(key, count);
    return count;
  };
  return {
    async consume(requests) {
      const taken: Count[] = [];
      for (const { key, limit } of requests) {
        const count = hit(key);
        taken.push(count);
        if (count.hits > limit) break;
      }
      return taken;
    },
    isExhausted: ({ key, limit }) => clock.now() < endsAtMs && (counts.get(key)?.hits ?? 0) >= limit,
    leased: () => 0,
  };
}

export interface Limiter {
  /**
   * Counts a request against its limits.
   * @param exact whether a single hit above the limit matters: true for requests that change something
   * @returns the status for the response headers; none for limits that are off or cannot be counted now
   */
  consume(keys: readonly LimitKey[], exact: boolean): Promise<LimitStatus[]>;
  /** Whether a request would certainly be refused. Counts nothing and never calls Redis. */
  isExhausted(key: LimitKey): boolean;
  /** Refused requests since the start, by limit. */
  refused(): Record<LimitName, number>;
}

/** The state of one limit for a client, for the headers of draft-ietf-httpapi-ratelimit-headers. */
export interface LimitStatus {
  name: LimitName;
  limit: number;
  /** Below zero if the request is refused. */
  remaining: number;
  resetSeconds: number;
}

export function limiter(limits: Limits, counters: Counters, clock: Clock): Limiter {
  const refused: Record<LimitName, number> = { address: 0, user: 0, "sign-in": 0 };
  const budgetOf = ({ name, subject }: LimitKey): Consume => ({
    key: `${name}:${subject}`,
    limit: limits[name],
  });
  return {
    async consume(keys, exact) {
      const active = keys.filter(({ name }) => limits[name] > 0);
      const counts = await counters.consume(active.map(budgetOf), exact);
      const nowMs = clock.now();
      return counts.flatMap((count, index) => {
        const { name } = active[index] as LimitKey;
        if (!count) return [];
        if (count.hits > limits[name]) refused[name]++;
        const resetSeconds = Math.max(1, Math.ceil((count.endsAtMs - nowMs) / 1000));
        return { name, limit: limits[name], remaining: limits[name] - count.hits, resetSeconds };
      });
    },
    isExhausted: (key) => limits[key.name] > 0 && counters.isExhausted(budgetOf(key)),
    refused: () => ({ ...refused }),
  };
}

/** The limits of one request. */
export interface RequestLimits {
  /**
   * Counts the request against these limits and the deferred ones in one call of the counters.
   * @throws TOO_MANY_REQUESTS
   */
  count(keys: readonly LimitKey[]): Promise<void>;
  /** Leaves a limit to the next count. */
  defer(key: LimitKey): void;
  /** The headers of the answer: the limits that are counted so far. */
  headers(): Record<string, string>;
}

/** @param exact as in `Limiter.consume` */
export function requestLimits(limiter: Limiter, exact: boolean): RequestLimits {
  const deferred: LimitKey[] = [];
  const counted: LimitStatus[] = [];
  return {
    async count(keys) {
      const statuses = await limiter.consume([...deferred.splice(0), ...keys], exact);
      counted.push(...statuses);
      throwIfExceeded(statuses);
    },
    defer(key) {
      deferred.push(key);
    },
    headers: () => limitHeaders(counted),
  };
}

/** @throws TOO_MANY_REQUESTS with `retryAfterSeconds` if a limit is exceeded */
export function throwIfExceeded(statuses: readonly LimitStatus[]): void {
  const exceeded = statuses.find(({ remaining }) => remaining < 0);
  if (!exceeded) return;
  const { resetSeconds } = exceeded;
  throw fail("TOO_MANY_REQUESTS", `Try again in ${resetSeconds} s.`, { retryAfterSeconds: resetSeconds });
}

export function limitHeaders(statuses: readonly LimitStatus[]): Record<string, string> {
  if (statuses.length === 0) return {};
  const policies = statuses.map(({ name, limit }) => `"${name}";q=${limit};w=${WINDOW_MS / 1000}`);
  const states = statuses.map(
    ({ name, remaining, resetSeconds }) => `"${name}";r=${Math.max(0, remaining)};t=${resetSeconds}`,
  );
  return { "RateLimit-Policy": policies.join(", "), RateLimit: states.join(", ") };
}
