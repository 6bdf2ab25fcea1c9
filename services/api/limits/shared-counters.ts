import { hash } from "node:crypto";
import type { Redis } from "ioredis";
import type { Clock } from "../../../lib/clock.ts";
import type { SharedStore } from "../../../lib/redis/shared-store.ts";
import { type Consume, type Count, type Counters, WINDOW_MS } from "./limits.ts";

/** How many hits a gateway draws at once for reads, so that a read does not wait for Redis each time. */
export const LEASE_HITS = 50;
/** A lease is never more than this part of a limit: what one gateway holds is missing at the others. */
export const LEASE_SHARE = 1 / 20;
const MAX_BUDGETS = 100_000;

/**
 * Grants up to `wanted` hits of each budget, in order, and stops at the first that has none. The window of a
 * budget begins with its first hit, so that no clock of a gateway matters.
 * ARGV: the window in ms, then limit and wanted hits of each key. Answers granted, used and ms to the end of each.
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

/** What this gateway knows of one budget until its window ends. */
interface Budget {
  /** Drawn by this gateway and not used. */
  left: number;
  /** All hits granted to all gateways, when last heard. */
  used: number;
  endsAtMs: number;
  /** Nothing more is granted in this window. */
  spent: boolean;
}

/**
 * Counters in Redis, which all gateways share. No more hits are ever granted than a limit allows; what is granted
 * and not used, by leases, is at most one lease for each gateway. A budget that is known to be spent is refused
 * without asking, so that a flood costs Redis nothing. While Redis is away nothing is counted.
 * @param prefix of all keys
 */
export function sharedCounters(store: SharedStore, prefix: string, clock: Clock): Counters {
  const budgets = new Map<string, Budget>();
  const asking = new Map<string, Promise<Budget | undefined>>();

  const known = (key: string): Budget | undefined => {
    const budget = budgets.get(key);
    if (!budget || budget.endsAtMs > clock.now()) return budget;
    budgets.delete(key);
    return undefined;
  };
  const isSpent = ({ key }: Consume): boolean => {
    const budget = known(key);
    return budget?.spent === true && budget.left === 0;
  };
  /** @param kept how many of the granted hits stay with this gateway */
  const learn = (key: string, { granted, used, leftMs }: Grant, kept: number): Budget => {
    const nowMs = clock.now();
    const left = (known(key)?.left ?? 0) + kept;
    const budget: Budget = { left, used, endsAtMs: nowMs + leftMs, spent: granted === 0 };
    // The newest last: those in front end first, and are the ones to give up when there are too many.
    budgets.delete(key);
    budgets.set(key, budget);
    for (const [oldest, { endsAtMs }] of budgets) {
      if (endsAtMs > nowMs && budgets.size <= MAX_BUDGETS) break;
      budgets.delete(oldest);
    }
    return budget;
  };
  /** A hit out of what this gateway knows: granted, refused, or undefined when Redis has to be asked. */
  const fromKnown = ({ key, limit }: Consume): Count | undefined => {
    const budget = known(key);
    if (!budget || (budget.left === 0 && !budget.spent)) return undefined;
    const { endsAtMs, used } = budget;
    if (budget.left === 0) return { hits: limit + 1, endsAtMs };
    budget.left--;
    return { hits: used - budget.left, endsAtMs };
  };

  /** Everybody who needs hits of one budget waits for the same lease. */
  const lease = (take: Consume): Promise<Budget | undefined> => {
    const running = asking.get(take.key);
    if (running) return running;
    const wanted = Math.max(1, Math.min(LEASE_HITS, Math.floor(take.limit * LEASE_SHARE)));
    const asked = grant(store, prefix, [{ ...take, wanted }])
      .then(([granted]) => granted && learn(take.key, granted, granted.granted))
      .finally(() => asking.delete(take.key));
    asking.set(take.key, asked);
    return asked;
  };
  const takeLeased = async (take: Consume): Promise<Count | undefined> => {
    // The others that waited may use a lease up, but each serves somebody or says that nothing is left.
    for (;;) {
      const count = fromKnown(take);
      if (count) return count;
      if (!(await lease(take))) return undefined;
    }
  };

  /** What is leased already is used up first; the rest is asked for in one go. */
  const takeExact = async (takes: readonly Consume[]): Promise<(Count | undefined)[]> => {
    const spent = takes.find(isSpent);
    if (spent) return takes.map((take) => (take === spent ? fromKnown(take) : undefined));
    const counts = takes.map(fromKnown);
    const open = takes.filter((_, index) => !counts[index]);
    if (open.length === 0) return counts;
    const grants = await grant(
      store,
      prefix,
      open.map((take) => ({ ...take, wanted: 1 })),
    );
    return takes.map((take, index) => {
      const granted = grants[open.indexOf(take)];
      if (counts[index] || !granted) return counts[index];
      const { used, endsAtMs } = learn(take.key, granted, 0);
      return { hits: granted.granted === 0 ? take.limit + 1 : used, endsAtMs };
    });
  };

  return {
    async take(takes, exact) {
      if (exact) return await takeExact(takes);
      const counts: (Count | undefined)[] = [];
      for (const take of takes) {
        const count = await takeLeased(take);
        counts.push(count);
        if (count && count.hits > take.limit) break;
      }
      return counts;
    },
    isSpent,
    leased() {
      const nowMs = clock.now();
      let sum = 0;
      for (const { left, endsAtMs } of budgets.values()) if (endsAtMs > nowMs) sum += left;
      return sum;
    },
  };
}

interface Grant {
  granted: number;
  used: number;
  leftMs: number;
}

/** @returns nothing when Redis is away, and nothing for the keys behind one that is spent */
async function grant(
  store: SharedStore,
  prefix: string,
  takes: readonly (Consume & { wanted: number })[],
): Promise<Grant[]> {
  const keys = takes.map(({ key }) => prefix + key);
  const words = [WINDOW_MS, ...takes.flatMap(({ limit, wanted }) => [limit, wanted])];
  const answer = await store.attempt((client) => runGrant(client, keys, words));
  const grants: Grant[] = [];
  for (let at = 0; answer && at < answer.length; at += 3) {
    const [granted = 0, used = 0, leftMs = 0] = answer.slice(at, at + 3);
    grants.push({ granted, used, leftMs });
  }
  return grants;
}

async function runGrant(client: Redis, keys: string[], words: number[]): Promise<number[]> {
  try {
    return (await client.evalsha(GRANT_SHA, keys.length, ...keys, ...words)) as number[];
  } catch (error) {
    // A server that was started anew knows no script.
    if (!(error as Error).message.startsWith("NOSCRIPT")) throw error;
    return (await client.eval(GRANT, keys.length, ...keys, ...words)) as number[];
  }
}
