import { fail } from "../../../contracts/errors.ts";
import type { Clock } from "../../../lib/clock.ts";

export const WINDOW_MS = 60_000;
const MAX_COUNTED = 200_000;

/** What one limit allows in a window of a minute; 0 allows everything. */
export interface Limits {
  address: number;
  user: number;
  "sign-in": number;
}
export type LimitName = keyof Limits;

/** One limit that a request falls under, and whose budget it takes from. */
export interface LimitKey {
  name: LimitName;
  subject: string;
}

/** A budget to take one hit from. */
export interface Consume {
  key: string;
  limit: number;
}

export interface Count {
  /** Of the running window, this one included; more than the limit means that it was refused. */
  hits: number;
  /** When the window ends, in milliseconds of Unix time. */
  endsAtMs: number;
}

/** Where hits are counted. Gateways that share a limit share the counters. */
export interface Counters {
  /**
   * Takes a hit from each budget, in order, up to the first that has nothing left.
   * @param exact false lets a gateway draw a handful at once and count them by itself
   * @returns a count for each; undefined for one that cannot be counted now; none behind the first refused
   */
  take(takes: readonly Consume[], exact: boolean): Promise<(Count | undefined)[]>;
  /** Whether the budget is known to be spent, without asking anybody. */
  isSpent(take: Consume): boolean;
  /** Hits that were drawn for this process and not used yet. */
  leased(): number;
}

/** Counters of one process: bounded, and forgotten when their window has ended. */
export function memoryCounters(clock: Clock): Counters {
  const counts = new Map<string, Count>();
  let endsAtMs = 0;
  const hit = (key: string): Count => {
    const nowMs = clock.now();
    // All windows begin and end together, so forgetting costs one clear and not a timer for each key.
    if (nowMs >= endsAtMs || counts.size >= MAX_COUNTED) {
      counts.clear();
      endsAtMs = nowMs - (nowMs % WINDOW_MS) + WINDOW_MS;
    }
    const count = { hits: (counts.get(key)?.hits ?? 0) + 1, endsAtMs };
    counts.set(key, count);
    return count;
  };
  return {
    async take(takes) {
      const taken: Count[] = [];
      for (const { key, limit } of takes) {
        const count = hit(key);
        taken.push(count);
        if (count.hits > limit) break;
      }
      return taken;
    },
    isSpent: ({ key, limit }) => clock.now() < endsAtMs && (counts.get(key)?.hits ?? 0) >= limit,
    leased: () => 0,
  };
}

export interface Limiter {
  /**
   * Counts a request against its limits.
   * @param exact whether one hit too many would matter: true for whatever changes something
   * @returns what the client is told of them; nothing of limits that are off or cannot be counted now
   */
  take(wants: readonly LimitKey[], exact: boolean): Promise<LimitStatus[]>;
  /** Whether a request would be refused for sure; costs nothing, and counts nothing. */
  refuses(want: LimitKey): boolean;
  /** How many were refused since the start, by limit. */
  refused(): Record<LimitName, number>;
}

/** How a client stands with one limit, for the headers of draft-ietf-httpapi-ratelimit-headers. */
export interface LimitStatus {
  name: LimitName;
  limit: number;
  /** Below zero for a request that is refused. */
  left: number;
  resetSeconds: number;
}

export function limiter(limits: Limits, counters: Counters, clock: Clock): Limiter {
  const refused: Record<LimitName, number> = { address: 0, user: 0, "sign-in": 0 };
  const budgetOf = ({ name, subject }: LimitKey): Consume => ({
    key: `${name}:${subject}`,
    limit: limits[name],
  });
  return {
    async take(wants, exact) {
      const held = wants.filter(({ name }) => limits[name] > 0);
      if (held.length === 0) return [];
      const counts = await counters.take(held.map(budgetOf), exact);
      const nowMs = clock.now();
      return counts.flatMap((count, index) => {
        const { name } = held[index] as LimitKey;
        if (!count) return [];
        if (count.hits > limits[name]) refused[name]++;
        const resetSeconds = Math.max(1, Math.ceil((count.endsAtMs - nowMs) / 1000));
        return { name, limit: limits[name], left: limits[name] - count.hits, resetSeconds };
      });
    },
    refuses: (want) => limits[want.name] > 0 && counters.isSpent(budgetOf(want)),
    refused: () => ({ ...refused }),
  };
}

/** @throws TOO_MANY_REQUESTS with `retryAfterSeconds` when nothing is left of one */
export function refuseBeyond(standings: readonly LimitStatus[]): void {
  const spent = standings.find(({ left }) => left < 0);
  if (!spent) return;
  const { resetSeconds } = spent;
  throw fail("TOO_MANY_REQUESTS", `Try again in ${resetSeconds} s.`, { retryAfterSeconds: resetSeconds });
}

export function limitHeaders(standings: readonly LimitStatus[]): Record<string, string> {
  if (standings.length === 0) return {};
  const policies = standings.map(({ name, limit }) => `"${name}";q=${limit};w=${WINDOW_MS / 1000}`);
  const states = standings.map(
    ({ name, left, resetSeconds }) => `"${name}";r=${Math.max(0, left)};t=${resetSeconds}`,
  );
  return { "RateLimit-Policy": policies.join(", "), RateLimit: states.join(", ") };
}
