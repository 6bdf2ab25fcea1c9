import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Outcome } from "../run.ts";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const TIMEOUT_MS = 3_600_000;

/** The specs of `npm test` that have a long form, with what makes it long. */
const specs = [
  {
    promise: "P4",
    title: "histories and races, the long form",
    file: "test/component/orders-histories.spec.ts",
    env: { HISTORIES: "10000", RACES: "1000" },
  },
  {
    promise: "P16",
    title: "the simulation, the long form",
    file: "test/unit/simulation.spec.ts",
    env: { SIMULATION_SEEDS: "1000" },
  },
];

/** Runs them, one after the other. @param share of the long form's size */
export async function longForms(share: number): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const { promise, title, file, env } of specs) {
    const size = Object.fromEntries(
      Object.entries(env).map(([name, count]) => [
        name,
        String(Math.max(1, Math.round(Number(count) * share))),
      ]),
    );
    const sinceMs = performance.now();
    const { code, said } = await jest(file, size);
    const passed = said.split("\n").filter((line) => /^\s*✓/.test(line)).length;
    outcomes.push({
      ...{ promise, title },
      figures: { ...size, "tests passed": passed, seconds: Math.round((performance.now() - sinceMs) / 1000) },
      late: [],
      problems: code === 0 ? [] : [`${file} failed: ${said.slice(-2_000)}`],
    });
  }
  return outcomes;
}

function jest(file: string, env: Record<string, string>): Promise<{ code: number | null; said: string }> {
  return new Promise((resolve) => {
    const words = [
      "--experimental-vm-modules",
      "node_modules/jest/bin/jest.js",
      "--maxWorkers=1",
      "--verbose",
    ];
    const { WAYBILL_TEST_RUN: _own, ...inherited } = process.env;
    const child = spawn(process.execPath, [...words, `--testTimeout=${TIMEOUT_MS}`, file], {
      cwd: ROOT,
      env: { ...inherited, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let said = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk) => {
        said = (said + chunk).slice(-20_000);
      });
    }
    child.on("close", (code) => resolve({ code, said }));
  });
}
