import { describe, expect, it } from "@jest/globals";
import { briefCache } from "../../lib/brief-cache.ts";

function cacheOf(load: (key: string) => Promise<number | undefined>) {
  let nowMs = 0;
  return { cache: briefCache(2_000, load, () => nowMs), pass: (ms: number) => (nowMs += ms) };
}

describe("a brief cache", () => {
  it("shares one load among concurrent calls, and loads again after its time", async () => {
    let loads = 0;
    const { cache, pass } = cacheOf(async () => ++loads);
    expect(await Promise.all([cache.get("a"), cache.get("a")])).toEqual([1, 1]);
    pass(1_999);
    expect(await cache.get("a")).toBe(1);
    pass(1);
    expect(await cache.get("a")).toBe(2);
    expect(await cache.get("b")).toBe(3);
  });

  it("loads again after a drop, also while a load is under way", async () => {
    const answers = [Promise.withResolvers<number>(), Promise.withResolvers<number>()];
    let loads = 0;
    const { cache } = cacheOf(async () => answers[loads++]?.promise);
    const first = cache.get("a");
    cache.drop("a");
    const second = cache.get("a");
    answers[1]?.resolve(2);
    answers[0]?.resolve(1);
    expect(await Promise.all([first, second])).toEqual([1, 2]);
    expect(await cache.get("a")).toBe(2);
  });

  it("keeps neither a failure nor a value that does not exist", async () => {
    let loads = 0;
    const { cache } = cacheOf(async () => {
      loads += 1;
      if (loads === 1) throw new Error("no");
      return loads === 2 ? undefined : loads;
    });
    await expect(cache.get("a")).rejects.toThrow("no");
    expect(await cache.get("a")).toBeUndefined();
    expect(await cache.get("a")).toBe(3);
  });
});
