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
  it("does what becomes due at others while one bank lets us wait, also after one has failed", async () => {
    const { pass, due, done, failures, slow } = banks();
    due.add("broken");
    await eventually(() => expect(failures).toEqual(["broken"]));
    due.add("other");
    await eventually(() => expect(done).toEqual(["other"]));
    slow.resolve();
    await pass;
    expect(done).toEqual(["other", "slow"]);
  });

  it("that is stopped, ends with what is under way, however long that takes, and begins nothing", async () => {
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
