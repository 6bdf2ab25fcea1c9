import { globSync, readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { areas, leftOut } from "./areas.ts";
import { applied, type Mutant, mutantsOf } from "./mutants.ts";
import { specsByDistance } from "./related.ts";
import { type Outcome, report } from "./report.ts";
import { openSandbox, type Sandbox } from "./sandbox.ts";

/*
 * Changes the core in small places, one at a time, and looks whether a test fails: `npm run test:mutation`.
 * For each changed line it runs only specs that run this line, the nearest first.
 */

const ROOT = resolve(import.meta.dirname, "../..");
const USAGE = `npm run test:mutation -- [--area orders] [--file services/orders/order.ts] [--kind sql-lock]
  [--sample 300] [--seed 1] [--workers 2] [--id 0123456789] [--list] [--report docs/reliability/mutation.md]`;
/** Specs that reach a file over more imports than the nearest 12 only repeat what these show. */
const SPECS_A_FILE = 12;

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

function chosenMutants(): Mutant[] {
  const globs = options.file ?? (options.area ?? Object.keys(areas)).flatMap((area) => areas[area] ?? []);
  const files = globSync([...globs], { cwd: ROOT }).filter(
    (file) => !leftOut.some((pattern) => pattern.test(file)),
  );
  let mutants = [...new Set(files)]
    .sort()
    .flatMap((file) => mutantsOf(file, readFileSync(resolve(ROOT, file), "utf8")));
  if (options.kind) mutants = mutants.filter(({ kind }) => options.kind?.includes(kind));
  if (options.id) mutants = mutants.filter(({ id }) => options.id?.includes(id));
  if (!options.sample) return mutants;
  const random = randomOf(Number(options.seed));
  const drawn = mutants.map((mutant) => ({ mutant, chance: random() })).sort((a, b) => a.chance - b.chance);
  return drawn.slice(0, Number(options.sample)).map(({ mutant }) => mutant);
}

async function judge(sandbox: Sandbox, mutant: Mutant, specs: string[]): Promise<Outcome> {
  const covering = await sandbox.covering(mutant.file, mutant.line, specs);
  if (covering.length === 0) return { mutant, found: false, by: "no test runs this line" };
  const source = readFileSync(resolve(ROOT, mutant.file), "utf8");
  const found = await sandbox.withFile(mutant.file, applied(source, mutant), () => sandbox.fails(covering));
  return { mutant, found, by: covering.join(", ") };
}

async function main(): Promise<void> {
  if (options.help) return say(USAGE);
  const mutants = chosenMutants();
  if (options.list) {
    for (const { id, file, line, kind, before, replacement } of mutants) {
      say(`${id} ${file}:${line} ${kind}: ${before} -> ${replacement}`.replaceAll(/\s+/g, " "));
    }
    return;
  }
  const specsOf = specsByDistance(ROOT);
  // Mutants of one file stay together: the coverage of its specs is measured once by each worker.
  const files = [...Map.groupBy(mutants, ({ file }) => file).values()].sort((a, b) => b.length - a.length);
  const outcomes: Outcome[] = [];
  const worker = async (): Promise<void> => {
    const sandbox = await openSandbox(ROOT);
    try {
      for (let own = files.shift(); own; own = files.shift()) {
        const [first] = own;
        const specs = specsOf((first as Mutant).file)
          .slice(0, SPECS_A_FILE)
          .map(({ spec }) => spec);
        for (const mutant of own) {
          const outcome = await judge(sandbox, mutant, specs);
          outcomes.push(outcome);
          const { id, file, line, kind } = mutant;
          say(
            `${outcomes.length}/${mutants.length} ${outcome.found ? "found   " : "SURVIVED"} ${id} ${file}:${line} ${kind}`,
          );
        }
      }
    } finally {
      sandbox.close();
    }
  };
  await Promise.all(Array.from({ length: Number(options.workers) }, worker));
  const { text, survivors } = report(outcomes);
  if (options.report) writeFileSync(options.report, text);
  say(text);
  process.exitCode = survivors === 0 ? 0 : 1;
}

await main();
