import { existsSync, readFileSync } from "node:fs";
import type { Mutant } from "./mutants.ts";

export interface Outcome {
  mutant: Mutant;
  verdict: "found" | "survived" | "equivalent";
  /** The specs that ran with the change. */
  specs: readonly string[];
}

/** The changes of an area that were drawn, out of all that there are. */
export interface Sample {
  area: string;
  outcomes: Outcome[];
  all: number;
  /** Missing when all of them ran. */
  seed?: number;
}

const HEAD = `# Mutation testing

Written by \`npm run test:mutation -- --area orders --sample 150 --seed 1 --report docs/reliability/mutation.md\`: each run
replaces the sections of its areas. A change counts as found when one of the specs that run its place fails; where that
took as long as a limit of time, the same specs also have to pass without the change. An equivalent change alters no
behaviour; its reason stands in \`test/mutation/equivalents.json\`. The share is that of the found among the others, with
its 95 % interval (Wilson).
`;
/** Of the normal distribution, for 95 %. */
const Z = 1.96;

/** The page with the sections of these samples, and those of other areas as they were. */
export function reportPage(path: string, samples: readonly Sample[]): string {
  const before = existsSync(path) ? readFileSync(path, "utf8") : "";
  const sections = new Map(
    before
      .split(/^(?=## )/m)
      .slice(1)
      .map((text) => [text.slice(3, text.indexOf("\n")), text.trim()]),
  );
  for (const sample of samples) sections.set(sample.area, section(sample));
  const sorted = [...sections].sort(([a], [b]) => a.localeCompare(b));
  return `${[HEAD.trim(), ...sorted.map(([, text]) => text)].join("\n\n")}\n`;
}

/** How many changes of a sample were found, by kind, and each that was not. */
export function section({ area, outcomes, all, seed }: Sample): string {
  const drawn = seed === undefined ? "all" : `a sample of ${outcomes.length}, seed ${seed}`;
  const kinds = [...new Set(outcomes.map(({ mutant }) => mutant.kind))].sort();
  const survivors = outcomes.filter(({ verdict }) => verdict === "survived");
  return [
    `## ${area}`,
    "",
    `Of ${all} changes, ${drawn}.`,
    "",
    "| kind | changes | found | survived | equivalent | share found |",
    "| --- | ---: | ---: | ---: | ---: | --- |",
    row("all", outcomes),
    ...kinds.map((kind) =>
      row(
        kind,
        outcomes.filter(({ mutant }) => mutant.kind === kind),
      ),
    ),
    ...(survivors.length > 0 ? ["", "Survivors:", ""] : []),
    ...survivors.map(({ mutant, specs }) => {
      const { id, file, line, kind, before, replacement } = mutant;
      const ran = specs.length > 0 ? `${specs.length} specs ran it` : "no spec runs it";
      return `- \`${id}\` ${file}:${line} ${kind}: \`${oneLine(before)}\` -> \`${oneLine(replacement)}\` (${ran})`;
    }),
  ].join("\n");
}

function row(name: string, outcomes: readonly Outcome[]): string {
  const count = (wanted: Outcome["verdict"]) => outcomes.filter(({ verdict }) => verdict === wanted).length;
  const [found, survived, equivalent] = [count("found"), count("survived"), count("equivalent")];
  const share = shareText(found, found + survived);
  return `| ${name} | ${outcomes.length} | ${found} | ${survived} | ${equivalent} | ${share} |`;
}

/** In per cent, with the interval that holds the true share 19 times of 20. */
export function shareText(found: number, of: number): string {
  if (of === 0) return "-";
  const share = found / of;
  const centre = (share + Z ** 2 / (2 * of)) / (1 + Z ** 2 / of);
  const half = (Z * Math.sqrt((share * (1 - share)) / of + Z ** 2 / (4 * of ** 2))) / (1 + Z ** 2 / of);
  const percent = (part: number) => (100 * part).toFixed(1);
  return `${percent(share)} % (${percent(centre - half)} to ${percent(centre + half)})`;
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, " ").replaceAll("`", "'").slice(0, 120);
}
