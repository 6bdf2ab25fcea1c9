import { describe, expect, it } from "@jest/globals";
import { groupInserts } from "../../mixins/documents/group-insert.ts";
import { eventually } from "../support/eventually.ts";

const document = (id: string) => ({ _id: id });
const ids = (documents: readonly { _id: string }[]) => documents.map(({ _id }) => _id);
const never = () => false;

/** A store whose inserts end when the test lets them. */
function slowStore() {
  const asked: { ids: string[]; end: PromiseWithResolvers<ReadonlySet<string>> }[] = [];
  const insert = async (documents: readonly { _id: string }[]) => {
    const end = Promise.withResolvers<ReadonlySet<string>>();
    asked.push({ ids: ids(documents), end });
    return await end.promise;
  };
  return { asked, insert, groups: () => asked.map((one) => one.ids) };
}

describe("inserts in groups", () => {
  it("one alone is written at once, later ones together, in order", async () => {
    const { asked, insert, groups } = slowStore();
    const add = groupInserts(insert, never);
    const all = ["a", "b", "c", "d"].map((id) => add([document(id)]));
    expect(groups()).toEqual([["a"]]);
    asked[0]?.end.resolve(new Set());
    await eventually(() => expect(groups()).toEqual([["a"], ["b", "c", "d"]]));
    asked[1]?.end.resolve(new Set(["c"]));
    expect(await Promise.all(all.slice(1))).toEqual([new Set(["c"]), new Set(["c"]), new Set(["c"])]);
    void add([document("e")]);
    await eventually(() => expect(groups().at(-1)).toEqual(["e"]));
  });

  it("a group has a limit, which one large insert may exceed", async () => {
    const sizes: number[] = [];
    const add = groupInserts(async (documents) => {
      sizes.push(documents.length);
      return new Set();
    }, never);
    const many = (count: number) => Array.from({ length: count }, (_, index) => document(String(index)));
    await Promise.all([add(many(1)), add(many(150)), add(many(50)), add(many(1)), add(many(500))]);
    expect(sizes).toEqual([1, 200, 1, 500]);
  });

  it("an invalid document fails alone", async () => {
    const groups: string[][] = [];
    const add = groupInserts(async (documents) => {
      groups.push(ids(documents));
      if (ids(documents).includes("bad")) throw new Error("this one is too large");
      return new Set();
    }, never);
    const ended = await Promise.allSettled(["first", "good", "bad", "fine"].map((id) => add([document(id)])));
    expect(ended.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "rejected", "fulfilled"]);
    expect(groups).toEqual([["first"], ["good", "bad", "fine"], ["good"], ["bad"], ["fine"]]);
  });

  it("an unavailable store is called once for a whole group", async () => {
    const groups: string[][] = [];
    const away = new Error("away");
    const add = groupInserts(
      async (documents) => {
        groups.push(ids(documents));
        throw away;
      },
      (error) => error === away,
    );
    const ended = await Promise.allSettled(["a", "b", "c"].map((id) => add([document(id)])));
    expect(ended.map((one) => (one as PromiseRejectedResult).reason)).toEqual([away, away, away]);
    expect(groups).toEqual([["a"], ["b", "c"]]);
  });
});
