import { globSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { generated, table } from "./markdown.ts";

/** Name and columns of a row of `bench/results`: right-aligned figures, at least two spaces apart. */
const ROW = /^(\S.*?)\s{2,}(.+)$/;

interface Run {
  file: string;
  /** `bench/soak.ts` measures under other conditions than `npm run bench`, so neither hides a row of the other. */
  isSoak: boolean;
  machine: string;
  rows: { name: string; cells: string[] }[];
}

/** docs/figures.md: each row of the benchmarks, from the newest run that has it. */
export function figuresPage(root: string): string {
  const runs = globSync("bench/results/*.md", { cwd: root })
    .sort()
    .reverse()
    .map((file) => readRun(file, readFileSync(join(root, file), "utf8")));
  const seen = new Set<string>();
  const sections = runs.flatMap(({ file, isSoak, machine, rows }) => {
    const newest = rows.filter(({ name }) => !seen.has(`${isSoak} ${name}`));
    for (const { name } of newest) seen.add(`${isSoak} ${name}`);
    const body = newest.map(({ name, cells }) => [name, ...cells]);
    if (body.length === 0) return [];
    const link = `[${basename(file)}](../${file})`;
    return `## ${basename(file, ".md")}${isSoak ? ", after a million orders" : ""}\n\n${link}, ${machine}\n\n${table(["row", "measured", "baseline", "ratio"], body)}\n`;
  });
  const intro = [
    "Each row of `npm run bench`, and of `bench/soak.ts`, from the newest run in `bench/results/` that measured it.",
    "[bench/README.md](../bench/README.md) says what a row and its baseline are; the ratio is that of the two in one run.",
  ].join("\n");
  return `${generated("Figures", intro)}\n${sections.join("\n")}`;
}

/** "the same, p99 in ms" is of the row before it that has a name of its own. */
function readRun(file: string, text: string): Run {
  const rows: Run["rows"] = [];
  let subject = "";
  for (const line of (/```\n([\s\S]*?)```/.exec(text)?.[1] ?? "").split("\n").slice(1)) {
    const [, written = "", figures = ""] = ROW.exec(line.trimEnd()) ?? [];
    if (written === "") continue;
    if (!written.startsWith("the same")) subject = written;
    const name = written.replace(/^the same/, subject.replace(/,? (?:requests\/s|lives\/s|a second)$/, ""));
    const [measured = "", baseline = "", ratio = ""] = figures.split(/\s{2,}/);
    rows.push({ name, cells: [measured, baseline, ratio] });
  }
  const isSoak = rows.some(({ name }) => name.startsWith("reads that failed"));
  return { file, isSoak, machine: text.split("\n")[2] ?? "", rows };
}
