import { describe, expect, it } from "@jest/globals";
import type { Redis } from "ioredis";
import type { SharedStore } from "../../lib/redis/shared-store.ts";
import { sharedCounters } from "../../services/api/limits/shared-counters.ts";

const WINDOW_MS = 60_000;

/** A Redis that knows the one script which the counters run, as its text says. */
function redis(clock: { now: () => number }) {
  const budgets = new Map<string, { used: number; endsAtMs: number }>();
  const state = { away: false, knowsScript: true, error: undefined as Error | undefined };
  const calls: string[] = [];
  const run = (name: string, count: number, words: (string | number)[]) => {
    const keys = words.slice(0, count).map(String);
    const [windowMs = 0, ...rest] = words.slice(count).map(Number);
    calls.push(`${name} ${keys.map((key, at) => `${key} ${rest[2 * at + 1]}/${rest[2 * at]}`).join(", ")}`);
    const answer: number[] = [];
    for (const [at, key] of keys.entries()) {
      const [limit = 0, wanted = 0] = rest.slice(2 * at);
      const found = budgets.get(key);
      const budget =
        found && found.endsAtMs > clock.now() ? found : { used: 0, endsAtMs: clock.now() + windowMs };
      const granted = Math.max(0, Math.min(wanted, limit - budget.used));
      budget.used += granted;
      budgets.set(key, budget);
      answer.push(granted, budget.used, budget.endsAtMs - clock.now());
      if (granted === 0) break;
    }
    return Promise.resolve(answer);
  };
  const client = {
    evalsha: (_sha: string, count: number, ...words: (string | number)[]) => {
      if (state.error) return Promise.reject(state.error);
      return state.knowsScript
        ? run("evalsha", count, words)
        : Promise.reject(new Error("NOSCRIPT No matching script."));
    },
    eval: (_text: string, count: number, ...words: (string | number)[]) => run("eval", count, words),
  } as unknown as Redis;
  const store = {
    attempt: async <T>(work: (client: Redis) => Promise<T>) => (state.away ? undefined : await work(client)),
  } as SharedStore;
  return { state, calls, store };
}

function stage() {
  let nowMs = 1_000_000;
  const clock = { now: () => nowMs };
  const { state, calls, store } = redis(clock);
  const gateway = () => sharedCounters(store, "rl:", clock);
  const counters = gateway();
  const takes = (...budgets: [key: string, limit: number][]) =>
    budgets.map(([key, limit]) => ({ key, limit }));
  const hits = async (exact: boolean, ...budgets: [string, number][]) =>
    (await counters.consume(takes(...budgets), exact)).map((count) => count?.hits);
  return {
    ...{ state, calls, counters, gateway, takes, hits },
    pass: (ms: number) => {
      nowMs += ms;
    },
    nowMs: () => nowMs,
  };
}

describe("counters that gateways share", () => {
  it("with exact counting, send each hit to Redis, and refuse hits beyond the limit", async () => {
    const { hits, calls, counters, takes } = stage();
    expect([await hits(true, ["a", 2]), await hits(true, ["a", 2])]).toEqual([[1], [2]]);
    expect(counters.isExhausted({ key: "a", limit: 2 })).toBe(false);
    expect(await hits(true, ["a", 2])).toEqual([3]);
    expect(counters.isExhausted({ key: "a", limit: 2 })).toBe(true);
    expect(calls).toEqual(["evalsha rl:a 1/2", "evalsha rl:a 1/2", "evalsha rl:a 1/2"]);
    // A budget that is known to be used up costs no request.
    expect(await hits(true, ["a", 2])).toEqual([3]);
    expect(await hits(false, ["a", 2])).toEqual([3]);
    expect(calls).toHaveLength(3);
    const [count] = await counters.consume(takes(["a", 2]), true);
    expect(count).toMatchObject({ endsAtMs: 1_000_000 + WINDOW_MS });
  });

  it("start again after their minute", async () => {
    const { hits, counters, pass } = stage();
    expect([await hits(true, ["a", 1]), await hits(true, ["a", 1])]).toEqual([[1], [2]]);
    pass(WINDOW_MS - 1);
    expect(counters.isExhausted({ key: "a", limit: 1 })).toBe(true);
    expect(await hits(true, ["a", 1])).toEqual([2]);
    pass(1);
    expect(counters.isExhausted({ key: "a", limit: 1 })).toBe(false);
    expect(await hits(true, ["a", 1])).toEqual([1]);
  });

  it("for reads, lease a twentieth of the limit at once, fifty at most and one at least", async () => {
    for (const [limit, drawn] of [
      [10_000, 50],
      [1_000, 50],
      [999, 49],
      [40, 2],
      [39, 1],
      [1, 1],
    ] as const) {
      const { hits, calls, counters } = stage();
      expect(await hits(false, ["a", limit])).toEqual([1]);
      expect(calls).toEqual([`evalsha rl:a ${drawn}/${limit}`]);
      expect(counters.leased()).toBe(drawn - 1);
      for (let count = 2; count <= drawn; count++) expect(await hits(false, ["a", limit])).toEqual([count]);
      expect(calls).toHaveLength(1);
      expect(counters.leased()).toBe(0);
    }
  });

  it("for many concurrent reads, wait for one lease after the other and serve each", async () => {
    const { counters, calls, takes } = stage();
    const counts = await Promise.all(
      Array.from({ length: 5 }, () => counters.consume(takes(["a", 40]), false)),
    );
    expect(counts.map(([count]) => count?.hits).sort()).toEqual([1, 2, 3, 4, 5]);
    expect(calls).toEqual(Array.from({ length: 3 }, () => "evalsha rl:a 2/40"));
  });

  it("with exact counting, use hits that were leased for reads first", async () => {
    const { hits, calls, counters } = stage();
    await hits(false, ["a", 60]);
    expect(await hits(true, ["a", 60])).toEqual([2]);
    expect(await hits(true, ["a", 60])).toEqual([3]);
    expect(calls).toHaveLength(1);
    expect(await hits(true, ["a", 60])).toEqual([4]);
    expect(calls).toEqual(["evalsha rl:a 3/60", "evalsha rl:a 1/60"]);
    expect(counters.leased()).toBe(0);
  });

  it("of several budgets, need one request for all open ones, in their order", async () => {
    const { hits, calls } = stage();
    await hits(false, ["b", 40]);
    expect(await hits(true, ["a", 5], ["b", 40], ["c", 5])).toEqual([1, 2, 1]);
    expect(calls).toEqual(["evalsha rl:b 2/40", "evalsha rl:a 1/5, rl:c 1/5"]);
  });

  it.each([true, false])("behind a used-up budget, take none (exact: %s)", async (exact) => {
    const { hits } = stage();
    await hits(true, ["a", 1]);
    const refused = await hits(exact, ["a", 1], ["b", 5]);
    expect(refused.slice(0, 2).filter((count) => count !== undefined)).toEqual([2]);
    // Known to be spent by now.
    const again = await hits(exact, ["b", 5], ["a", 1]);
    expect(again.filter((count) => count !== undefined)).toEqual(exact ? [2] : [1, 2]);
    expect(await hits(true, ["b", 5])).toEqual([exact ? 1 : 2]);
  });

  it("of two gateways, grant no more than the limit together", async () => {
    const { hits, gateway, takes } = stage();
    const other = gateway();
    expect(await hits(true, ["a", 2])).toEqual([1]);
    expect((await other.consume(takes(["a", 2]), true)).map((count) => count?.hits)).toEqual([2]);
    expect(await hits(true, ["a", 2])).toEqual([3]);
    expect((await other.consume(takes(["a", 2]), false)).map((count) => count?.hits)).toEqual([3]);
  });

  it("drop leased hits at the end of their minute", async () => {
    const { hits, counters, pass, calls } = stage();
    await hits(false, ["a", 1_000]);
    expect(counters.leased()).toBe(49);
    pass(WINDOW_MS);
    expect(counters.leased()).toBe(0);
    await hits(false, ["b", 1_000]);
    expect(counters.leased()).toBe(49);
    await hits(false, ["a", 1_000]);
    expect(counters.leased()).toBe(98);
    expect(calls).toHaveLength(3);
  });

  it.each([true, false])("without Redis, count nothing (exact: %s)", async (exact) => {
    const { hits, state, counters } = stage();
    state.away = true;
    expect(await hits(exact, ["a", 1], ["b", 1])).toEqual([undefined, undefined]);
    expect(counters.isExhausted({ key: "a", limit: 1 })).toBe(false);
    state.away = false;
    expect(await hits(exact, ["a", 1])).toEqual([1]);
  });

  it("of a restarted Redis, load the script again", async () => {
    const { hits, state, calls } = stage();
    state.knowsScript = false;
    expect(await hits(true, ["a", 5])).toEqual([1]);
    expect(calls).toEqual(["eval rl:a 1/5"]);
    state.error = new Error("ERR wrong type");
    await expect(hits(true, ["a", 5])).rejects.toThrow("ERR wrong type");
  });
});
