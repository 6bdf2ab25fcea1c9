import { afterEach, describe, expect, it, jest } from "@jest/globals";
import { ServiceBroker } from "moleculer";
import { type Cause, inBatches, startRunner } from "../../lib/messaging/runner.ts";
import { eventually } from "../support/eventually.ts";

const logger = new ServiceBroker({ logger: false }).logger;
const NEVER_MS = 1_000_000;

describe("startRunner", () => {
  it("woken repeatedly during a run, runs once more after it and never concurrently", async () => {
    const gates: (() => void)[] = [];
    let inside = 0;
    let most = 0;
    const run = async () => {
      inside += 1;
      most = Math.max(most, inside);
      await new Promise<void>((resolve) => gates.push(resolve));
      inside -= 1;
    };
    const runner = startRunner({ name: "test", sweepMs: NEVER_MS, run, logger });
    for (let i = 0; i < 10; i += 1) runner.wake();
    expect(gates).toHaveLength(1);
    gates[0]?.();
    await eventually(() => expect(gates).toHaveLength(2));
    gates[1]?.();
    await runner.stop();
    expect({ runs: gates.length, most }).toEqual({ runs: 2, most: 1 });
  });

  it("after a failed run, sweeps again", async () => {
    const causes: Cause[] = [];
    const runner = startRunner({
      name: "test",
      sweepMs: 5,
      logger,
      run: async (cause) => {
        causes.push(cause);
        throw new Error("as the test wants it");
      },
    });
    await eventually(() => expect(causes.length).toBeGreaterThan(2));
    await runner.stop();
    expect(new Set(causes)).toEqual(new Set(["sweep"]));
  });

  it("stopped during a run, resolves at its end and never runs again", async () => {
    let open: () => void = () => undefined;
    let runs = 0;
    const run = async () => {
      runs += 1;
      await new Promise<void>((resolve) => {
        open = resolve;
      });
    };
    const runner = startRunner({ name: "test", sweepMs: NEVER_MS, run, logger });
    let stopped = false;
    const stopping = runner.stop().then(() => {
      stopped = true;
    });
    runner.wake();
    await new Promise(setImmediate);
    expect(stopped).toBe(false);
    open();
    await stopping;
    runner.wake();
    await new Promise(setImmediate);
    expect(runs).toBe(1);
  });

  it("stopped during a long run, signals it, and work in batches ends after the current one", async () => {
    const begun = Promise.withResolvers<void>();
    const first = Promise.withResolvers<number>();
    let batches = 0;
    const batch = () => {
      batches += 1;
      begun.resolve();
      return batches === 1 ? first.promise : Promise.resolve(batches < 100 ? 10 : 0);
    };
    const runner = startRunner({
      name: "test",
      sweepMs: NEVER_MS,
      run: (_cause, stopping) => inBatches(10, batch, stopping),
      logger,
    });
    await begun.promise;
    const stopping = runner.stop();
    first.resolve(10);
    await stopping;
    expect(batches).toBe(1);
  });
});

describe("a runner without a database", () => {
  const away = Object.assign(new Error("refused"), { code: "ECONNREFUSED" });
  const stage = (failures: number) => {
    jest.useFakeTimers({ doNotFake: ["setImmediate", "nextTick", "queueMicrotask", "performance"] });
    const causes: Cause[] = [];
    const run = async (cause: Cause) => {
      causes.push(cause);
      if (causes.length <= failures) throw away;
    };
    return { causes, runner: startRunner({ name: "test", sweepMs: NEVER_MS, run, logger }) };
  };
  afterEach(() => void jest.useRealTimers());

  it("tries again a second later, for the same cause", async () => {
    const { causes, runner } = stage(2);
    await jest.advanceTimersByTimeAsync(999);
    expect(causes).toEqual(["sweep"]);
    await jest.advanceTimersByTimeAsync(1);
    expect(causes).toEqual(["sweep", "sweep"]);
    runner.wake();
    await jest.advanceTimersByTimeAsync(0);
    expect(causes).toEqual(["sweep", "sweep", "woken"]);
    await runner.stop();
  });

  it("stopped before that, does not try again", async () => {
    const { causes, runner } = stage(1);
    await jest.advanceTimersByTimeAsync(10);
    await runner.stop();
    await jest.advanceTimersByTimeAsync(2_000);
    expect(causes).toEqual(["sweep"]);
  });

  it("sweeps at its time, and no more after its end", async () => {
    const { causes, runner } = stage(0);
    await jest.advanceTimersByTimeAsync(2 * NEVER_MS);
    expect(causes).toEqual(["sweep", "sweep", "sweep"]);
    await runner.stop();
    await jest.advanceTimersByTimeAsync(2 * NEVER_MS);
    expect(causes).toHaveLength(3);
  });
});

describe("a wake-up", () => {
  it("with work, is not replaced by a sweep that is due meanwhile", async () => {
    const causes: Cause[] = [];
    const gate = Promise.withResolvers<void>();
    const run = async (cause: Cause) => {
      causes.push(cause);
      if (causes.length === 1) await gate.promise;
    };
    jest.useFakeTimers({ doNotFake: ["setImmediate", "nextTick", "queueMicrotask"] });
    const runner = startRunner({ name: "test", sweepMs: 1_000, run, logger });
    runner.wake();
    await jest.advanceTimersByTimeAsync(1_000);
    gate.resolve();
    await jest.advanceTimersByTimeAsync(0);
    jest.useRealTimers();
    await runner.stop();
    expect(causes).toEqual(["sweep", "woken"]);
  });
});

describe("inBatches", () => {
  it("continues while batches are full", async () => {
    const sizes = [3, 3, 2, 3];
    await inBatches(3, async () => sizes.shift() ?? 0);
    expect(sizes).toEqual([3]);
  });
});
