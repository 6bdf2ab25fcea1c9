import { execFile } from "node:child_process";
import { join } from "node:path";
import { describe, expect, it } from "@jest/globals";
import { plantable } from "../simulation/faults.ts";
import { runFolder } from "../support/test-run.ts";

const FOLDER = join(import.meta.dirname, "..", "simulation");
const TIMEOUT_MS = 180_000;
/** The long form asks for a thousand, which two processes share. */
const SEEDS = Number(process.env.SIMULATION_SEEDS ?? 100);
const STEPS = 500;
const PROCESSES = SEEDS > 200 ? 2 : 1;
/** The time limit of a thousand seeds, when that run is alone. */
const THOUSAND_SEEDS_MS = 60_000;

/** A process of its own, because a run takes the process's clock, timers and chance away. */
function run(env: Record<string, string>): Promise<string[]> {
  const program = ["--import", join(FOLDER, "hooks.ts"), join(FOLDER, "main.ts")];
  const cache = join(runFolder(), "compile-cache");
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      program,
      { env: { PATH: process.env.PATH, NODE_COMPILE_CACHE: cache, ...env }, maxBuffer: 1e8 },
      (_error, out, complaint) => resolve(`${out}${complaint}`.trimEnd().split("\n")),
    );
  });
}

const lastOf = (lines: readonly string[]) => JSON.parse(lines.at(-1) ?? "");

describe("the simulated platform", () => {
  it(
    "under crashes, lost answers, jumping clocks and a slow bank, keeps every promise, seed after seed",
    async () => {
      const each = Math.ceil(SEEDS / PROCESSES);
      const startedMs = performance.now();
      const parts = await Promise.all(
        Array.from({ length: PROCESSES }, (_, n) =>
          run({ FIRST: String(1 + n * each), SEEDS: String(each), STEPS: String(STEPS) }),
        ),
      );
      const tookMs = Math.round(performance.now() - startedMs);
      for (const lines of parts) {
        expect(lines).toHaveLength(1); // else a line for each seed that found something
        const totals = lastOf(lines);
        expect(totals.broken).toEqual([]);
        expect(totals.seeds).toBe(each);
        expect(totals.steps).toBeGreaterThan(each * STEPS);
        expect(totals.orders).toBeGreaterThan(each * 3);
        expect(totals.kills).toBeGreaterThan(each / 2);
        expect(totals.deadLetters).toBeGreaterThan(0);
      }
      if (SEEDS < 1_000) return;
      const cpuMs = parts.reduce((sum, lines) => sum + lastOf(lines).cpuMs, 0);
      const inTime = tookMs <= (THOUSAND_SEEDS_MS * SEEDS) / 1_000;
      expect({ tookMs, cpuMs, inTime }).toEqual({ tookMs, cpuMs, inTime: true });
    },
    TIMEOUT_MS,
  );

  it("with the same seed, does the same steps", async () => {
    const [one, other] = await Promise.all([run({ SEED: "42" }), run({ SEED: "42" })]);
    expect(one.length).toBeGreaterThan(50);
    expect(other).toEqual(one);
  });
});

describe("the simulation's checkers", () => {
  it(
    "find every planted fault",
    async () => {
      const lines = (await run({ FAULT: "all", SEEDS: "150", STEPS: "1000" })).map((line) =>
        JSON.parse(line),
      );
      expect(lines.map(({ fault }) => fault)).toEqual([...plantable]);
      expect(lines.filter(({ found }) => found === null)).toEqual([]);
    },
    TIMEOUT_MS,
  );
});
