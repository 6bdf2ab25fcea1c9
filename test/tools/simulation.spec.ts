import { describe, expect, it } from "@jest/globals";
import { plantable } from "../simulation/faults.ts";
import { runSimulation as run } from "../support/simulation.ts";

const TIMEOUT_MS = 180_000;

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
