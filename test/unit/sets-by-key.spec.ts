import { describe, expect, it } from "@jest/globals";
import { SetsByKey } from "../../lib/sets-by-key.ts";

describe("sets by key", () => {
  it("hold each value once, for its own key only", () => {
    const sets = new SetsByKey<string, number>();
    for (const value of [1, 2, 1]) sets.add("a", value);
    sets.add("b", 3);
    expect([...sets.of("a")]).toEqual([1, 2]);
    expect([...sets.of("b")]).toEqual([3]);
    expect([...sets.of("c")]).toEqual([]);
  });

  it("after the last value of a key was deleted, contain the key no more", () => {
    const sets = new SetsByKey<string, number>();
    sets.add("a", 1);
    sets.add("a", 2);
    sets.add("b", 1);
    sets.delete("a", 1);
    expect([...sets.of("a")]).toEqual([2]);
    expect(sets.keys).toBe(2);
    sets.delete("a", 2);
    expect(sets.keys).toBe(1);
    for (const key of ["a", "c"]) sets.delete(key, 2);
    expect([...sets.of("b")]).toEqual([1]);
    expect(sets.keys).toBe(1);
  });
});
