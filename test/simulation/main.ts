import { setFlagsFromString } from "node:v8";
import { type Fault, plantable } from "./faults.ts";
import { takeOver } from "./globals.ts";
import type { Result } from "./run.ts";

/*
 * SEEDS=100 STEPS=500 node --import ./test/simulation/hooks.ts test/simulation/main.ts
 * SEED=7 repeats one run and prints its steps. FAULT plants a fault; FAULT=all plants each in turn.
 */
const { SEED, SEEDS = "100", STEPS = "500", FIRST = "1", FAULT } = process.env;
const print = (text: string) => process.stdout.write(`${text}\n`);
const realNow = performance.now.bind(performance);

setFlagsFromString("--stack-size=2000");
process.on("unhandledRejection", (error) => {
  print(`unhandled: ${(error as Error).stack}`);
  process.exit(1);
});
takeOver();
const { simulate } = await import("./run.ts");

async function many(fault?: Fault): Promise<Result[]> {
  const results: Result[] = [];
  for (let seed = Number(FIRST); seed < Number(FIRST) + Number(SEEDS); seed += 1) {
    const result = await simulate(seed, { steps: Number(STEPS), ...(fault && { fault }) });
    results.push(result);
    if (result.broken.length > 0 && !fault) print(`SEED=${seed}: ${result.broken[0]}`);
    if (fault && result.broken.length > 0) break; // found
  }
  return results;
}

const sum = (results: readonly Result[], of: keyof Result) =>
  results.reduce((all, result) => all + Number(result[of]), 0);

const startedMs = realNow();
if (SEED) {
  const result = await simulate(Number(SEED), {
    steps: Number(STEPS),
    traced: true,
    ...(FAULT && { fault: FAULT as Fault }),
  });
  for (const line of result.trace ?? []) print(line);
  print(JSON.stringify({ ...result, trace: undefined }));
  process.exitCode = result.broken.length > 0 ? 1 : 0;
} else if (FAULT) {
  for (const fault of FAULT === "all" ? plantable : [FAULT as Fault]) {
    const results = await many(fault);
    const found = results.at(-1)?.broken[0];
    print(JSON.stringify({ fault, found: found ?? null, runs: results.length }));
  }
} else {
  const results = await many();
  const totals = Object.fromEntries(
    (["steps", "acts", "orders", "kills", "deadLetters"] as const).map((of) => [of, sum(results, of)]),
  );
  const broken = results.filter((result) => result.broken.length > 0).map(({ seed }) => seed);
  const ms = Math.round(realNow() - startedMs);
  const { user, system } = process.cpuUsage();
  const cpuMs = Math.round((user + system) / 1_000);
  print(JSON.stringify({ seeds: results.length, first: Number(FIRST), ...totals, ms, cpuMs, broken }));
  process.exitCode = broken.length > 0 ? 1 : 0;
}
