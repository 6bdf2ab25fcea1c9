import { mkdirSync, writeFileSync } from "node:fs";
import { arch, cpus, platform, totalmem } from "node:os";
import { join, resolve } from "node:path";

export interface Row {
  what: string;
  measured: number;
  baseline?: number;
  /** Measured by baseline, the median of the rounds' own ratios. */
  ratio?: number;
}

const RESULTS = resolve(import.meta.dirname, "../results");
const WIDTHS = [42, 12, 12, 8] as const;

/** The table for the terminal, at most 80 columns wide. */
export function tableOf(rows: Row[]): string {
  const line = (cells: string[]) =>
    cells.map((cell, n) => (n === 0 ? cell.padEnd(WIDTHS[0]) : cell.padStart(WIDTHS[n] as number))).join(" ");
  const body = rows.map(({ what, measured, baseline, ratio }) =>
    line([what, figure(measured), figure(baseline), ratio === undefined ? "" : ratio.toFixed(2)]),
  );
  return [line(["", "measured", "baseline", "ratio"]), ...body].join("\n");
}

/** Keeps a run under bench/results/ with the machine it ran on. @returns the file's path */
export function keep(rows: Row[]): string {
  mkdirSync(RESULTS, { recursive: true });
  const at = new Date().toISOString();
  const machine = `${cpus().length} x ${cpus()[0]?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GB, ${platform()} ${arch()}`;
  const path = join(RESULTS, `${at.slice(0, 19).replaceAll(":", "-")}.md`);
  const text = `# Bench of ${at}\n\n${machine}; Node ${process.version}\n\n\`\`\`\n${tableOf(rows)}\n\`\`\`\n`;
  writeFileSync(path, text);
  return path;
}

function figure(value: number | undefined): string {
  if (value === undefined) return "";
  return value >= 100 ? Math.round(value).toLocaleString("en") : value.toFixed(2);
}
