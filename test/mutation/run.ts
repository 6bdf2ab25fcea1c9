import { globSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { areas, leftOut } from "./areas.ts";
import { type Covering, measuredCoverage } from "./coverage.ts";
import { applied, type Mutant, mutantsOf } from "./mutants.ts";
import { type Outcome, reportPage, type Sample, section } from "./report.ts";
import { openSandbox, type Sandbox } from "./sandbox.ts";

/*
 * Changes the core in small places, one at a time, and looks whether a test fails: `npm run test:mutation`.
 * For each change it runs only specs that run its place, first those that are most about the file.
 */

const ROOT = resolve(import.meta.dirname, "../..");
const USAGE = `npm run test:mutation -- [--area orders] [--file services/orders/domain/order.ts] [--kind sql-lock]
  [--sample 150, of each area] [--seed 1] [--workers 2] [--id 0123456789] [--list]
  [--report docs/reliability/mutation.md]`;
/** Runs without a change, to see that the copy is sound. */
const UNCHANGED = "test/component/outbox.spec.ts";
/** How often a change runs whose specs reach a limit of time without it, too: then nothing shows that they find it. */
const TRIES = 3;
/** Further specs that run the same place nearly always repeat what these show. They end at the first that fails. */
const SPECS_A_CHANGE = 14;
/** Of these: specs that are most about the changed file, which run first. The rest are the shortest. */
const SPECS_ABOUT_THE_FILE = 4;

const say = (line: string): void => void process.stdout.write(`${line}\n`);

const { values: options } = parseArgs({
  options: {
    area: { type: "string", multiple: true },
    file: { type: "string", multiple: true },
    kind: { type: "string", multiple: true },
    id: { type: "string", multiple: true },
    sample: { type: "string" },
    seed: { type: "string", default: "1" },
    workers: { type: "string", default: "2" },
    list: { type: "boolean", default: false },
    report: { type: "string" },
    help: { type: "boolean", default: false },
  },
});

/** Changes that change no behaviour, by id, with the reason. */
const equivalents = JSON.parse(readFileSync(join(import.meta.dirname, "equivalents.json"), "utf8")) as Record<
  string,
  string
>;

/** The same numbers for the same seed (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

function mutantsOfArea(area: string): Mutant[] {
  const files = globSync([...(areas[area] ?? [])], { cwd: ROOT }).filter(
    (file) => !leftOut.some((pattern) => pattern.test(file)) && (options.file?.includes(file) ?? true),
  );
  return files
    .sort()
    .flatMap((file) => mutantsOf(file, readFileSync(resolve(ROOT, file), "utf8")))
    .filter(({ kind }) => options.kind?.includes(kind) ?? true)
    .filter(({ id }) => options.id?.includes(id) ?? true);
}

function drawn(mutants: readonly Mutant[]): readonly Mutant[] {
  if (!options.sample) return mutants;
  const random = randomOf(Number(options.seed));
  return mutants
    .map((mutant) => ({ mutant, chance: random() }))
    .sort((a, b) => a.chance - b.chance)
    .slice(0, Number(options.sample))
    .map(({ mutant }) => mutant);
}

function chosenSpecs(covering: readonly Covering[]): string[] {
  const shortestFirst = [...covering].sort((a, b) => a.seconds - b.seconds);
  const about = shortestFirst.toSorted((a, b) => b.focus - a.focus).slice(0, SPECS_ABOUT_THE_FILE);
  return [...new Set([...about, ...shortestFirst])].slice(0, SPECS_A_CHANGE).map(({ spec }) => spec);
}

/** @throws Error when tests fail without a change: then they would find every change */
async function requireSound(sandbox: Sandbox): Promise<void> {
  const { result } = await sandbox.run([UNCHANGED]);
  if (result !== "passed") throw new Error(`${UNCHANGED} ${result} without a change`);
}

async function judge(sandbox: Sandbox, mutant: Mutant, covering: readonly Covering[]): Promise<Outcome> {
  if (equivalents[mutant.id]) return { mutant, verdict: "equivalent", specs: [] };
  const specs = chosenSpecs(covering);
  if (specs.length === 0) return { mutant, verdict: "survived", specs };
  const change = (source: string) => applied(source, mutant);
  for (let tries = 1; tries <= TRIES; tries++) {
    const { result, slow } = await sandbox.withFile(mutant.file, change, () => sandbox.run(specs));
    if (result === "passed") return { mutant, verdict: "survived", specs };
    // A change may end jest itself; or the machine did, and then it ends every run.
    if (result === "broken") await requireSound(sandbox);
    if (slow.length === 0 || (await sandbox.run(slow)).result === "passed")
      return { mutant, verdict: "found", specs };
  }
  return { mutant, verdict: "survived", specs };
}

const described = ({ id, file, line, kind, before, replacement }: Mutant): string =>
  `${id} ${file}:${line} ${kind}: ${before} -> ${replacement}`.replaceAll(/\s+/g, " ");

/** The ids of changes that the sources do not have any more, as after the changed line was rewritten. */
function outdatedEquivalents(): string[] {
  const files = globSync(Object.values(areas).flat(), { cwd: ROOT });
  const ids = new Set(
    files.flatMap((file) => mutantsOf(file, readFileSync(resolve(ROOT, file), "utf8")).map(({ id }) => id)),
  );
  return Object.keys(equivalents).filter((id) => !ids.has(id));
}

async function main(): Promise<void> {
  if (options.help) return say(USAGE);
  const outdated = outdatedEquivalents();
  if (outdated.length > 0) say(`equivalents.json names changes that do not exist: ${outdated.join(", ")}`);
  const chosen = (options.area ?? Object.keys(areas)).map((area) => {
    const all = mutantsOfArea(area);
    return { area, all: all.length, mutants: drawn(all) };
  });
  const waiting = chosen.flatMap(({ mutants }) => mutants);
  if (options.list) return say(waiting.map(described).join("\n"));

  const coveringOf = measuredCoverage(ROOT, [...new Set(waiting.map(({ file }) => file))]);
  const total = waiting.length;
  // They run in the order in which they were drawn: what has run until then is a sample, too.
  process.once("SIGINT", () => waiting.splice(0));
  const outcomes = new Map<Mutant, Outcome>();
  const worker = async (): Promise<void> => {
    const sandbox = openSandbox(ROOT);
    try {
      await requireSound(sandbox);
      for (let mutant = waiting.shift(); mutant; mutant = waiting.shift()) {
        const outcome = await judge(sandbox, mutant, coveringOf(mutant.file, mutant.start));
        outcomes.set(mutant, outcome);
        const reason =
          outcome.verdict === "survived" ? ` (${outcome.specs.join(", ") || "no spec runs it"})` : "";
        say(`${outcomes.size}/${total} ${outcome.verdict} ${described(mutant)}${reason}`);
      }
    } finally {
      await sandbox.close();
    }
  };
  await Promise.all(Array.from({ length: Number(options.workers) }, worker));

  const samples: Sample[] = chosen.map(({ area, all, mutants }) => ({
    ...{ area, all, outcomes: mutants.flatMap((mutant) => outcomes.get(mutant) ?? []) },
    ...(options.sample && { seed: Number(options.seed) }),
  }));
  for (const sample of samples) say(`\n${section(sample)}`);
  if (options.report) writeFileSync(options.report, reportPage(options.report, samples));
  const survived = [...outcomes.values()].some(({ verdict }) => verdict === "survived");
  process.exitCode = survived ? 1 : 0;
}

await main();
