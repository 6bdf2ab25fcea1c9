import { describe, expect, it } from "@jest/globals";
import { mapConcurrent } from "../../lib/map-concurrent.ts";

describe("mapConcurrent", () => {
  it("returns the results in order and never runs more than the limit at one time", async () => {
    let [running, most] = [0, 0];
    const results = await mapConcurrent(3, [5, 1, 4, 2, 3, 0], async (turns) => {
      running += 1;
      most = Math.max(most, running);
      for (let turn = 0; turn < turns; turn++) await Promise.resolve();
      running -= 1;
      return turns * 10;
    });
    expect(results).toEqual([50, 10, 40, 20, 30, 0]);
    expect(most).toBe(3);
  });

  it("after a failure, rejects and starts no further item", async () => {
    const started: number[] = [];
    const work = mapConcurrent(1, [1, 2, 3], async (item) => {
      started.push(item);
      if (item === 2) throw new Error("two");
    });
    await expect(work).rejects.toThrow("two");
    expect(started).toEqual([1, 2]);
  });

  it("of no items, returns none", async () => {
    expect(await mapConcurrent(2, [], async () => 1)).toEqual([]);
  });
});
