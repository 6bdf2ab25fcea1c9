import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Outcome } from "../run.ts";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const TIMEOUT_MS = 3_600_000;

interface LongForm {
  promise: string;
  title: string;
  file: string;
  /** The counts that make it long, by the names of their variables. A run may use a share of them. */
  counts?: Record<string, number>;
  /** Variables beside them. */
  env?: Record<string, string>;
  /** Whether SEED determines its choices. */
  seeded?: true;
}

/** The specs of `npm test` that have a long form. */
const specs: readonly LongForm[] = [
  {
    promise: "P3",
    title: "the whole lease of a key whose holder was killed",
    file: "test/component/confirm-key.spec.ts",
    env: { NIGHTLY: "1" },
  },
  {
    promise: "P4",
    title: "histories and races, the long form",
    file: "test/component/orders-histories.spec.ts",
    counts: { HISTORIES: 10_000, RACES: 1_000 },
    seeded: true,
  },
  {
    promise: "P4",
    title: "races for pieces, the long form",
    file: "test/component/stock-histories.spec.ts",
    counts: { STOCK_ORDERS: 5_000 },
    seeded: true,
  },
  {
    promise: "P12",
    title: "a message that ends its process, with the lease of the product",
    file: "test/component/poison.spec.ts",
    env: { NIGHTLY: "1" },
  },
  {
    promise: "P16",
    title: "the simulation, the long form",
    file: "test/unit/simulation.spec.ts",
    counts: { SIMULATION_SEEDS: 1_000 },
  },
];

/** Runs them, one after the other, by the SEED of the environment or another. @param share of their counts */
export async function longForms(share: number, wanted: (promise: string) => boolean): Promise<Outcome[]> {
  const seed = process.env.SEED ?? String(Math.floor(Math.random() * 1_000_000));
  const outcomes: Outcome[] = [];
  for (const { promise, title, file, counts = {}, env = {}, seeded } of specs) {
    if (!wanted(promise)) continue;
    const size = Object.entries(counts).map(([name, count]) => [
      name,
      String(Math.max(1, Math.round(count * share))),
    ]);
    const given = { ...env, ...Object.fromEntries(size), ...(seeded && { SEED: seed }) };
    const sinceMs = performance.now();
    const { code, said } = await jest(file, given);
    const passed = said.split("\n").filter((line) => /^\s*✓/.test(line)).length;
    outcomes.push({
      ...{ promise, title },
      figures: {
        ...given,
        "tests passed": passed,
        seconds: Math.round((performance.now() - sinceMs) / 1000),
      },
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
