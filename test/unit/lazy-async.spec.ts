import { describe, expect, it } from "@jest/globals";
import { lazyAsync } from "../../lib/lazy-async.ts";

describe("lazyAsync", () => {
  it("called concurrently and again, makes one value", async () => {
    let made = 0;
    const one = lazyAsync(async () => ++made);
    expect(made).toBe(0);
    expect([...(await Promise.all([one(), one()])), await one()]).toEqual([1, 1, 1]);
  });

  it("after a failure, which all waiting callers get, tries again and keeps the result", async () => {
    let tries = 0;
    const one = lazyAsync(async () => {
      tries += 1;
      if (tries === 1) throw new Error("too many open files");
      return tries;
    });
    const [first, second] = await Promise.allSettled([one(), one()]);
    expect([first?.status, second?.status]).toEqual(["rejected", "rejected"]);
    expect([await one(), await one()]).toEqual([2, 2]);
  });
});
