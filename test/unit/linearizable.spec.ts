import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { NEVER, type Operation, Recorder } from "../histories/history.ts";
import { check, type Model } from "../histories/linearizable.ts";

/** A number that can be read, written, and set if it has an expected value. */
type Input = { read: true } | { write: number } | { from: number; to: number };

const register: Model<number, Input> = {
  initial: 0,
  apply(state, { input, outcome }) {
    const silent = outcome.kind === "unknown";
    if ("read" in input)
      return silent || (outcome.kind === "answer" && outcome.value === state) ? state : undefined;
    if ("write" in input) return outcome.kind === "refusal" ? undefined : input.write;
    const swaps = state === input.from;
    if (silent) return swaps ? input.to : state;
    return (outcome.kind === "answer") === swaps ? (swaps ? input.to : state) : undefined;
  },
  internal: () => [],
  key: String,
};

const operation = (input: Input, invoked: number, returned: number, value?: unknown): Operation<Input> => ({
  ...{ input, invoked, returned },
  outcome: { kind: "answer", value },
});
const refusal = (input: Input, invoked: number, returned: number): Operation<Input> => ({
  ...{ input, invoked, returned },
  outcome: { kind: "refusal", type: "LOST" },
});
const silence = (input: Input, invoked: number): Operation<Input> => ({
  ...{ input, invoked, returned: NEVER },
  outcome: { kind: "unknown" },
});
const verdict = (...operations: Operation<Input>[]) => check(register, operations).linearizable;

describe("check", () => {
  it("of concurrent operations, accepts any order that explains the answers", () => {
    expect(verdict(operation({ write: 1 }, 1, 4), operation({ read: true }, 2, 3, 0))).toBe(true);
    expect(verdict(operation({ write: 1 }, 1, 4), operation({ read: true }, 2, 3, 1))).toBe(true);
  });

  it("of a read that misses an earlier write, finds no order", () => {
    expect(verdict(operation({ write: 1 }, 1, 2), operation({ read: true }, 3, 4, 0))).toBe(false);
  });

  it("of two winners where one is possible, finds no order", () => {
    const one = operation({ from: 0, to: 1 }, 1, 4);
    expect(verdict(one, operation({ from: 0, to: 2 }, 2, 3))).toBe(false);
    expect(verdict(one, refusal({ from: 0, to: 2 }, 2, 3))).toBe(true);
  });

  it("of operations without an answer, accepts both results", () => {
    expect(verdict(silence({ write: 1 }, 1), operation({ read: true }, 2, 3, 1))).toBe(true);
    expect(verdict(silence({ write: 1 }, 1), operation({ read: true }, 2, 3, 0))).toBe(true);
    const back = [operation({ read: true }, 2, 3, 1), operation({ read: true }, 4, 5, 0)];
    expect(verdict(silence({ write: 1 }, 1), ...back)).toBe(false);
  });

  it("of internal steps, accepts them at any time", () => {
    const ticking = { ...register, internal: (state: number) => (state < 3 ? [state + 1] : []) };
    const reads = (...values: number[]) =>
      values.map((value, n) => operation({ read: true }, 2 * n + 1, 2 * n + 2, value));
    expect(check(ticking, reads(0, 2, 3)).linearizable).toBe(true);
    expect(check(ticking, reads(0, 2, 1)).linearizable).toBe(false);
  });

  it("of any sequential operations, finds their order, however they overlap", () => {
    const inputs = fc.array(
      fc.record({
        write: fc.nat(3),
        reads: fc.boolean(),
        early: fc.nat(9),
        late: fc.nat(9),
        at: fc.nat(1000),
      }),
      { minLength: 1, maxLength: 14 },
    );
    fc.assert(
      fc.property(inputs, (planned) => {
        let value = 0;
        const done = planned.map(({ write, reads, early, late }, index) => {
          // It took effect at 10 * index, some time after it began and before it ended.
          const [invoked, returned] = [10 * index - 3 * early - 0.5, 10 * index + 3 * late + 0.5];
          if (reads) return operation({ read: true }, invoked, returned, value);
          value = write;
          return operation({ write }, invoked, returned);
        });
        const shuffled = done
          .map((one, index) => [planned[index]?.at ?? 0, one] as const)
          .sort(([a], [b]) => a - b)
          .map(([, one]) => one);
        expect(check(register, shuffled).linearizable).toBe(true);
      }),
    );
  });
});

describe("Recorder", () => {
  it("records answers, refusals and missing answers in the order of their begin and end", async () => {
    const recorder = new Recorder<string>();
    const slow = Promise.withResolvers<string>();
    const first = recorder.run("slow", () => slow.promise);
    await recorder.run("refused", () =>
      Promise.reject(Object.assign(new Error("no"), { type: "NOT_FOUND" })),
    );
    await recorder.run("lost", () =>
      Promise.reject(Object.assign(new Error(""), { type: "REQUEST_TIMEOUT" })),
    );
    await recorder.run("unlucky", () =>
      Promise.reject(Object.assign(new Error(""), { type: "ORDER_CHANGED" })),
    );
    slow.resolve("done");
    await first;
    expect(recorder.operations).toEqual([
      { input: "refused", invoked: 2, returned: 3, outcome: { kind: "refusal", type: "NOT_FOUND" } },
      { input: "lost", invoked: 4, returned: NEVER, outcome: { kind: "unknown" } },
      { input: "slow", invoked: 1, returned: 8, outcome: { kind: "answer", value: "done" } },
    ]);
    expect(recorder.dropped).toBe(1);
  });
});
