import { describe, expect, it, jest } from "@jest/globals";
import { bankPass } from "../../services/orders/workers/bank-pass.ts";
import { eventually } from "../support/eventually.ts";

/** Banks at which something is due, and what was done there; work at the slow one ends when the test says so. */
function banks() {
  const slow = Promise.withResolvers<void>();
  const due = new Set(["slow"]);
  const done: string[] = [];
  const failures: string[] = [];
  const stop = new AbortController();
  const pass = bankPass({
    due: async () => [...due].map((id) => ({ id })),
    async work({ id }) {
      if (id === "slow") await slow.promise;
      due.delete(id);
      if (id === "broken") throw new Error("broken");
      done.push(id);
    },
    failed: (id) => failures.push(id),
    stopping: stop.signal,
  });
  return { pass, due, done, failures, slow, stop };
}

describe("a pass over all banks", () => {
  it("handles newly due work of others while one bank hangs, also after a failed one", async () => {
    const { pass, due, done, failures, slow } = banks();
    due.add("broken");
    await eventually(() => expect(failures).toEqual(["broken"]));
    due.add("other");
    await eventually(() => expect(done).toEqual(["other"]));
    slow.resolve();
    await pass;
    expect(done).toEqual(["other", "slow"]);
  });

  it("does not begin work at a bank from an answer of before the end of the bank's last work", async () => {
    const [first, later, query] = [1, 2, 3].map(() => Promise.withResolvers<void>());
    let [queries, works] = [0, 0];
    const pass = bankPass({
      async due() {
        queries += 1;
        if (queries === 2) {
          query?.resolve();
          await later?.promise;
        }
        return queries <= 2 ? [{ id: "one" }] : [];
      },
      async work() {
        works += 1;
        await first?.promise;
      },
      failed: () => undefined,
    });
    await query?.promise;
    first?.resolve();
    await new Promise((resolve) => setImmediate(resolve));
    later?.resolve();
    await pass;
    expect(works).toBe(1);
  });

  it("after a stop, ends with the running work, however long that takes, and starts no other", async () => {
    jest.useFakeTimers();
    const { pass, due, done, slow, stop } = banks();
    let ended = false;
    const ending = pass.then(() => {
      ended = true;
    });
    stop.abort();
    due.add("other");
    await jest.advanceTimersByTimeAsync(60_000);
    expect(ended).toBe(false);
    slow.resolve();
    await ending;
    jest.useRealTimers();
    expect(done).toEqual(["slow"]);
  });
});
