import { AsyncLocalStorage } from "node:async_hooks";
import { describe, expect, it } from "@jest/globals";
import { groupedReads } from "../../lib/grouped-reads.ts";
import { eventually } from "../support/eventually.ts";

/** A database whose statements end when the test ends them. */
function slowDatabase() {
  const statements: { keys: readonly string[]; end: PromiseWithResolvers<ReadonlyMap<string, string>> }[] =
    [];
  const read = groupedReads((keys) => {
    const end = Promise.withResolvers<ReadonlyMap<string, string>>();
    statements.push({ keys, end });
    return end.promise;
  });
  const answer = (at: number) => {
    const { keys = [], end } = statements[at] ?? {};
    end?.resolve(new Map(keys.filter((key) => key !== "unknown").map((key) => [key, `row ${key}`])));
  };
  return { read, statements, answer, keys: () => statements.map((one) => one.keys) };
}

describe("grouped reads", () => {
  it("start at once while few statements run, then share the next one, which names each key once", async () => {
    const { read, keys, answer } = slowDatabase();
    const all = ["a", "b", "c", "unknown", "c", "a"].map(read);
    expect(keys()).toEqual([["a"], ["b"]]);
    answer(1);
    await eventually(() => expect(keys()).toEqual([["a"], ["b"], ["c", "unknown", "a"]]));
    answer(2);
    answer(0);
    expect(await Promise.all(all)).toEqual(["row a", "row b", "row c", undefined, "row c", "row a"]);
  });

  it("never join a statement that began before their call, even for the same key", async () => {
    const { read, keys, answer } = slowDatabase();
    const first = read("a");
    const other = read("b");
    const later = read("a");
    answer(0);
    expect(await first).toBe("row a");
    await eventually(() => expect(keys()).toEqual([["a"], ["b"], ["a"]]));
    answer(1);
    answer(2);
    expect(await Promise.all([other, later])).toEqual(["row b", "row a"]);
  });

  it("continue beside a statement that hangs", async () => {
    const { read, keys, answer } = slowDatabase();
    void read("hangs");
    for (const [at, key] of ["a", "b", "c"].entries()) {
      const one = read(key);
      await eventually(() => expect(keys()).toHaveLength(at + 2));
      answer(at + 1);
      expect(await one).toBe(`row ${key}`);
    }
  });

  it("fail with their statement and with no other", async () => {
    const { read, statements, answer } = slowDatabase();
    const ended = Promise.allSettled(["a", "b", "c", "d"].map(read));
    statements[0]?.end.reject(new Error("connection lost"));
    await eventually(() => expect(statements).toHaveLength(3));
    statements[2]?.end.reject(new Error("statement timeout"));
    answer(1);
    expect((await ended).map((one) => (one.status === "fulfilled" ? one.value : one.reason.message))).toEqual(
      [...["connection lost", "row b", "statement timeout", "statement timeout"]],
    );
    const next = read("e");
    await eventually(() => expect(statements).toHaveLength(4));
    answer(3);
    expect(await next).toBe("row e");
  });

  it("share a statement of at most 100 keys", async () => {
    const sizes: number[] = [];
    const read = groupedReads(async (keys) => {
      sizes.push(keys.length);
      return new Map<string, string>();
    });
    await Promise.all(Array.from({ length: 252 }, (_, n) => read(String(n))));
    expect(sizes).toEqual([1, 1, 100, 100, 50]);
  });

  it("run in the context of the first that shares the statement", async () => {
    const trace = new AsyncLocalStorage<string>();
    const seen: (string | undefined)[] = [];
    const read = groupedReads(async () => {
      seen.push(trace.getStore());
      return new Map<string, string>();
    });
    await Promise.all(["a", "b", "c", "d"].map((name) => trace.run(name, () => read(name))));
    expect(seen).toEqual(["a", "b", "c"]);
  });
});
