import { readFileSync } from "node:fs";
import { join, matchesGlob } from "node:path";
import { areas } from "./areas.ts";
import type { Mutant } from "./mutants.ts";

export interface Outcome {
  mutant: Mutant;
  found: boolean;
  /** The specs that ran with the change. */
  by: string;
}

/** Changes that change no behaviour, by id, with the reason. */
export function equivalents(): Record<string, string> {
  return JSON.parse(readFileSync(join(import.meta.dirname, "equivalents.json"), "utf8")) as Record<
    string,
    string
  >;
}

/** A page in Markdown: how many changes were found in each area, and each that was not. */
export function report(outcomes: Outcome[]): { text: string; survivors: number } {
  const known = equivalents();
  const counted = outcomes.filter(({ mutant, found }) => found || !known[mutant.id]);
  const survivors = counted.filter(({ found }) => !found);
  const rows = Object.entries(areas).map(([area, globs]) => {
    const own = counted.filter(({ mutant }) => globs.some((glob) => matchesGlob(mutant.file, glob)));
    return row(area, own);
  });
  const kinds = [...new Set(counted.map(({ mutant }) => mutant.kind))].sort();
  const text = [
    "| area | changes | found | share |",
    "| --- | --- | --- | --- |",
    ...rows.filter(Boolean),
    row("all", counted),
    "",
    "| kind of change | changes | found | share |",
    "| --- | --- | --- | --- |",
    ...kinds.map((kind) =>
      row(
        kind,
        counted.filter(({ mutant }) => mutant.kind === kind),
      ),
    ),
    "",
    ...survivors.map(({ mutant, by }) => {
      const { id, file, line, kind, before, replacement } = mutant;
      return `- \`${id}\` ${file}:${line} ${kind}: \`${oneLine(before)}\` -> \`${oneLine(replacement)}\` (${by})`;
    }),
  ].join("\n");
  return { text: `${text}\n`, survivors: survivors.length };
}

function row(name: string, outcomes: Outcome[]): string {
  if (outcomes.length === 0) return "";
  const found = outcomes.filter((outcome) => outcome.found).length;
  return `| ${name} | ${outcomes.length} | ${found} | ${Math.round((100 * found) / outcomes.length)} % |`;
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, " ").slice(0, 120);
}
