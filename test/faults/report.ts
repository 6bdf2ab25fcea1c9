import { writeFileSync } from "node:fs";
import { cpus, loadavg, totalmem } from "node:os";
import { type Outcome, resultOf, type Scale } from "./run.ts";

export interface Reported {
  seed: number;
  scale: Scale;
  versions: string[];
  outcomes: Outcome[];
  seconds: number;
}

/** A run as a page that people read. */
export function reportOf({ seed, scale, versions, outcomes, seconds }: Reported): string {
  const [cpu] = cpus();
  const machine = `${cpus().length} cores (${cpu?.model.trim()}), ${Math.round(totalmem() / 2 ** 30)} GB, load ${loadavg()[0]?.toFixed(1)} at the end`;
  const parts = outcomes.map((outcome) => {
    const { promise, title, figures, problems, late } = outcome;
    return [
      `### ${promise}: ${title} — ${resultOf(outcome).toLowerCase()}`,
      ...Object.entries(figures).map(([name, value]) => `- ${name}: ${value}`),
      ...[...problems, ...late].slice(0, 20).map((problem) => `- **${problem.split("\n")[0]}**`),
    ].join("\n");
  });
  return `## Seed ${seed}, ${scale.name}: ${scale.events} events, ${scale.kills} kills, ${Math.round(seconds)} s
Machine: ${machine}. Node ${process.version}. ${versions.join(", ")}.

${parts.join("\n\n")}
`;
}

export function writeReport(file: string, report: string): void {
  writeFileSync(file, report, { flag: "a" });
}
