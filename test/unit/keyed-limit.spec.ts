import { describe, expect, it } from "@jest/globals";
import { KeyedLimitError, keyedLimit } from "../../lib/keyed-limit.ts";

/** Work that ends when the test says so. */
function works() {
  const begun: string[] = [];
  const ends: (() => void)[] = [];
  return {
    begun,
    work: (name: string) => () => {
      begun.push(name);
      const { promise, resolve } = Promise.withResolvers<string>();
      ends.push(() => resolve(name));
      return promise;
    },
    endFirst: () => ends.shift()?.(),
  };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe("a limit by keys", () => {
  it("lets work of one key beyond its limit wait for its turn, in order, and other keys continue", async () => {
    const { begun, work, endFirst } = works();
    const limit = keyedLimit({ atOnce: 2, waitMs: 60_000 });
    const hot = ["a", "b", "c", "d"].map((name) => limit.run("hot", work(name)));
    const other = limit.run("other", work("other"));
    await turn();
    expect(begun).toEqual(["a", "b", "other"]);
    endFirst();
    await turn();
    expect(begun).toEqual(["a", "b", "other", "c"]);
    while (begun.length < 5) {
      endFirst();
      await turn();
    }
    for (let left = 0; left < 3; left++) endFirst();
    expect(await Promise.all([...hot, other])).toEqual(["a", "b", "c", "d", "other"]);
    expect(limit.keys()).toBe(0);
  });

  it("refuses work that has waited too long, and gives its turn to the next", async () => {
    const { begun, work, endFirst } = works();
    const limit = keyedLimit({ atOnce: 1, waitMs: 10 });
    const first = limit.run("hot", work("first"));
    await expect(limit.run("hot", work("late"))).rejects.toThrow(KeyedLimitError);
    const next = limit.run("hot", work("next"));
    endFirst();
    await turn();
    endFirst();
    expect(await Promise.all([first, next])).toEqual(["first", "next"]);
    expect(begun).toEqual(["first", "next"]);
  });

  it("continues after failed work", async () => {
    const limit = keyedLimit({ atOnce: 1, waitMs: 60_000 });
    const failed = limit.run("hot", () => Promise.reject(new Error("broken")));
    const next = limit.run("hot", async () => "fine");
    await expect(failed).rejects.toThrow("broken");
    expect(await next).toBe("fine");
    expect(limit.keys()).toBe(0);
  });
});
