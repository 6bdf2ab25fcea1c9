import { hash } from "node:crypto";
import type { Redis } from "ioredis";
import type { Clock } from "../../../lib/clock.ts";
import type { SharedStore } from "../../../lib/redis/shared-store.ts";
import { type Consume, type Count, type Counters, WINDOW_MS } from "./limits.ts";

/** Hits that a gateway leases at once for reads, so that not every read waits for Redis. */
export const LEASE_HITS = 50;
/** The largest share of a limit in one lease: the other gateways cannot use the hits that one has leased. */
export const LEASE_SHARE = 1 / 20;
const MAX_BUDGETS = 100_000;

/**
 * Grants up to `wanted` hits of each budget, in order, and stops at the first exhausted one. The window of a budget
 * starts with its first hit, so the clocks of the gateways do not matter.
 * ARGV: the window in ms, then limit and wanted hits for each key. Returns granted hits, used hits and remaining ms
 * for each key.
 */
const GRANT = `
local answer = {}
for i, key in ipairs(KEYS) do
  local limit, wanted = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local used = tonumber(redis.call('GET', key) or '0')
  local granted = math.max(0, math.min(wanted, limit - used))
  if granted > 0 then used = redis.call('INCRBY', key, granted) end
  local left = redis.call('PTTL', key)
  if left < 0 then
    left = tonumber(ARGV[1])
    redis.call('PEXPIRE', key, left)
  end
  answer[#answer + 1] = granted
  answer[#answer + 1] = used
  answer[#answer + 1] = left
  if granted == 0 then break end
end
return answer
`;
const GRANT_SHA = hash("sha1", GRANT);

/** The state of one budget, as this gateway knows it until the window ends. */
interface Budget {
  /** Hits that this gateway has leased and not used. */
  leased: number;
  /** Hits granted to all gateways, by the last answer of Redis. */
  used: number;
  endsAtMs: number;
  /** Redis grants no more hits in this window. */
  exhausted: boolean;
}

/**
 * Counters in Redis, which all gateways share. Redis never grants more hits than a limit allows. Each gateway holds at
 * most one unused lease for each budget. An exhausted budget is refused without calling Redis, so a flood does not load
 * it. While Redis is down, nothing is counted.
 * @param prefix prefix of all keys in Redis
 */
export function sharedCounters(store: SharedStore, prefix: string, clock: Clock): Counters {
  const budgets = new Map<string, Budget>();
  const pendingLeases = new Map<string, Promise<Budget | undefined>>();

  const currentBudget = (key: string): Budget | undefined => {
    const budget = budgets.get(key);
    if (!budget || budget.endsAtMs > clock.now()) return budget;
    budgets.delete(key);
    return undefined;
  };
  const isExhausted = ({ key }: Consume): boolean => {
    const budget = currentBudget(key);
    return budget?.exhausted === true && budget.leased === 0;
  };
  /** @param leasedHits how many of the granted hits this gateway keeps for later requests */
  const record = (key: string, { granted, used, leftMs }: Grant, leasedHits: number): Budget => {
    const nowMs = clock.now();
    const leased = (currentBudget(key)?.leased ?? 0) + leasedHits;
    const budget: Budget = { leased, used, endsAtMs: nowMs + leftMs, exhausted: granted === 0 };
    // The newest entry comes last: the first entries expire first and are removed when there are too many.
    budgets.delete(key);
    budgets.set(key, budget);
    for (const [oldest, { endsAtMs }] of budgets) {
      if (endsAtMs > nowMs && budgets.size <= MAX_BUDGETS) break;
      budgets.delete(oldest);
    }
    return budget;
  };
  /** Grants or refuses a hit by local state. @returns undefined if Redis must decide */
  const consumeLocally = ({ key, limit }: Consume): Count | undefined => {
    const budget = currentBudget(key);
    if (!budget || (budget.leased === 0 && !budget.exhausted)) return undefined;
    const { endsAtMs, used } = budget;
    if (budget.leased === 0) return { hits: limit + 1, endsAtMs };
    budget.leased--;
    return { hits: used - budget.leased, endsAtMs };
  };

  /** Concurrent requests for hits of one budget share one lease. */
  const lease = (request: Consume): Promise<Budget | undefined> => {
    const running = pendingLeases.get(request.key);
    if (running) return running;
    const wanted = Math.max(1, Math.min(LEASE_HITS, Math.floor(request.limit * LEASE_SHARE)));
    const pending = grant(store, prefix, [{ ...request, wanted }])
      .then(([granted]) => granted && record(request.key, granted, granted.granted))
      .finally(() => pendingLeases.delete(request.key));
    pendingLeases.set(request.key, pending);
    return pending;
  };
  const consumeLeased = async (request: Consume): Promise<Count | undefined> => {
    // Other requests may use up a lease first. The loop ends because each lease serves a request or is refused.
    for (;;) {
      const count = consumeLocally(request);
      if (count) return count;
      if (!(await lease(request))) return undefined;
    }
  };

  /** Uses leased hits first, and requests the missing hits from Redis in one call. */
  const consumeExact = async (requests: readonly Consume[]): Promise<(Count | undefined)[]> => {
    const exhausted = requests.find(isExhausted);
    if (exhausted) {
      return requests.map((request) => (request === exhausted ? consumeLocally(request) : undefined));
    }
    const counts = requests.map(consumeLocally);
    const missing = requests.filter((_, index) => !counts[index]);
    if (missing.length === 0) return counts;
    const grants = await grant(
      store,
      prefix,
      missing.map((request) => ({ ...request, wanted: 1 })),
    );
    return requests.map((request, index) => {
      const granted = grants[missing.indexOf(request)];
      if (counts[index] || !granted) return counts[index];
      const { used, endsAtMs } = record(request.key, granted, 0);
      return { hits: granted.granted === 0 ? request.limit + 1 : used, endsAtMs };
    });
  };

  return {
    async consume(requests, exact) {
      if (exact) return await consumeExact(requests);
      const counts: (Count | undefined)[] = [];
      for (const request of requests) {
        const count = await consumeLeased(request);
        counts.push(count);
        if (count && count.hits > request.limit) break;
      }
      return counts;
    },
    isExhausted,
    leased() {
      const nowMs = clock.now();
      let sum = 0;
      for (const { leased, endsAtMs } of budgets.values()) if (endsAtMs > nowMs) sum += leased;
      return sum;
    },
  };
}

interface Grant {
  granted: number;
  used: number;
  leftMs: number;
}

/** @returns an empty array while Redis is down; no entries behind the first exhausted key */
async function grant(
  store: SharedStore,
  prefix: string,
  requests: readonly (Consume & { wanted: number })[],
): Promise<Grant[]> {
  const keys = requests.map(({ key }) => prefix + key);
  const scriptArguments = [WINDOW_MS, ...requests.flatMap(({ limit, wanted }) => [limit, wanted])];
  const answer = await store.attempt((client) => runGrant(client, keys, scriptArguments));
  const grants: Grant[] = [];
  for (let at = 0; answer && at < answer.length; at += 3) {
    const [granted = 0, used = 0, leftMs = 0] = answer.slice(at, at + 3);
    grants.push({ granted, used, leftMs });
  }
  return grants;
}

async function runGrant(client: Redis, keys: string[], scriptArguments: number[]): Promise<number[]> {
  try {
    return (await client.evalsha(GRANT_SHA, keys.length, ...keys, ...scriptArguments)) as number[];
  } catch (error) {
    // A restarted server has lost the script.
    if (!(error as Error).message.startsWith("NOSCRIPT")) throw error;
    return (await client.eval(GRANT, keys.length, ...keys, ...scriptArguments)) as number[];
  }
}
