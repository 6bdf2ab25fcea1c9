/** `npm run test:faults [-- --nightly] [--only=P1,P7] [--scale=0.1] [--report=<file>]`; SEED=n repeats a schedule. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startFaultCluster } from "./cluster.ts";
import { reportOf, writeReport } from "./report.ts";
import { type Outcome, openRun, type Run, resultOf, type Scale } from "./run.ts";
import { scenarios } from "./scenarios/index.ts";
import { longForms } from "./scenarios/long-forms.ts";

const short: Scale = {
  ...{
    name: "short",
    events: 1_000,
    kills: 20,
    restarts: 4,
    requestsPerSecond: 50,
    toxicMs: 2_500,
    concurrency: 12,
  },
};
const nightly: Scale = {
  ...{ name: "nightly", events: 20_000, kills: 200, restarts: 20, requestsPerSecond: 200, toxicMs: 8_000 },
  concurrency: 16,
};

const PROBLEMS_SHOWN = 40;
const TIMES_WHEN_LATE = 2;

const words = process.argv.slice(2);
const option = (name: string) => words.find((word) => word.startsWith(`--${name}=`))?.split("=")[1];
const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 1_000_000));
const factor = Number(option("scale") ?? 1);
const only = option("only")?.split(",");
const base = words.includes("--nightly") ? nightly : short;
const concurrency = Number(option("concurrency") ?? base.concurrency);
const scale: Scale =
  factor === 1 && concurrency === base.concurrency
    ? base
    : {
        ...base,
        concurrency,
        name: "scaled",
        events: Math.round(base.events * factor),
        kills: Math.max(1, Math.round(base.kills * factor)),
      };

// Every server and process ends with this one.
process.setMaxListeners(64);
const startedMs = performance.now();
const say = (line: string) => {
  process.stdout.write(
    `${`${((performance.now() - startedMs) / 1000).toFixed(1)} s`.padStart(8)}  ${line}\n`,
  );
};
const tell = (outcome: Outcome) => {
  const { promise, title, figures, problems, late } = outcome;
  say(`${resultOf(outcome).padEnd(6)} ${promise} ${title} ${JSON.stringify(figures)}`);
  for (const problem of [...problems, ...late].slice(0, PROBLEMS_SHOWN)) say(`       ${problem}`);
};
const folder = mkdtempSync(join(tmpdir(), "waybill-faults-"));
process.env.WAYBILL_TEST_RUN ??= folder;
mkdirSync(join(folder, "cluster"));

say(`SEED=${seed}  ${scale.name}: ${scale.events} events, ${scale.kills} kills`);
const cluster = await startFaultCluster(join(folder, "cluster"));
let run: Run | undefined;
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => void cluster.stop().finally(() => process.exit(130)));
}
const outcomes: Outcome[] = [];
try {
  run = await openRun(seed, scale, cluster, say);
  say(`the cluster is up: ${cluster.versions.join(", ")}`);
  for (const [promise, scenario] of scenarios) {
    if (only && !only.includes(promise)) continue;
    // Another program of the machine can make a run late, so that is believed when it happens twice.
    for (let again = true, times = 1; again; times += 1) {
      const outcome = await play(run, promise, scenario);
      outcomes.push(outcome);
      tell(outcome);
      again = resultOf(outcome) === "LATE" && times < TIMES_WHEN_LATE;
    }
  }
} finally {
  await run?.world.stop();
  await cluster.stop();
}
if (base === nightly) {
  for (const outcome of await longForms(factor, (promise) => !only || only.includes(promise))) {
    outcomes.push(outcome);
    tell(outcome);
  }
}
const last = new Map(outcomes.map((outcome) => [outcome.promise, outcome]));
const kept =
  outcomes.every(({ problems }) => problems.length === 0) &&
  [...last.values()].every(({ late }) => late.length === 0);
const report = reportOf({
  seed,
  scale,
  versions: cluster.versions,
  outcomes,
  seconds: (performance.now() - startedMs) / 1000,
});
const file = option("report");
if (file) writeReport(file, report);
if (kept) rmSync(folder, { recursive: true, force: true });
else say(`what the processes said is in ${folder}; SEED=${seed} repeats the schedule`);
process.exit(kept ? 0 : 1);

async function play(on: Run, promise: string, scenario: (run: Run) => Promise<Outcome>): Promise<Outcome> {
  const deathsBefore = on.deaths.length;
  on.ledger.answers.reset();
  const outcome = await scenario(on).catch((error: Error) => ({
    ...{ promise, title: "", figures: {}, late: [], problems: [`the scenario ended: ${error.stack}`] },
  }));
  for (const { name, how } of on.deaths.slice(deathsBefore)) outcome.problems.push(`${name} died: ${how}`);
  return outcome;
}
