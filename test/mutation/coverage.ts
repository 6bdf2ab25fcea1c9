import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { areas } from "./areas.ts";
import { specsThatLoad } from "./related.ts";

/** Ignored by git; beside the packages, so that installing them keeps it. */
const FOLDER = "coverage/mutation";
/** Suites that start other processes, where what runs can't be seen, and those that look only at plans. Both are long. */
const APART = /^test\/(?:e2e|cluster|faults|containers|fuzz|servers|tools)\/|-plans\.spec\.ts$/;

export interface Range {
  startOffset: number;
  endOffset: number;
  count: number;
}

export interface SpecCoverage {
  /** Of the spec's text. */
  hash: string;
  seconds: number;
  /** By core file: of the text that was measured, and the parts of it that did not run. */
  files: Record<string, { hash: string; notRun: [start: number, end: number][] }>;
}

export interface Covering {
  spec: string;
  seconds: number;
  /** How much the spec is about the changed file: the share of the file that it runs, times the file's share of all that it runs. */
  focus: number;
}

export const hashOf = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 16);

export const coverageFile = (spec: string): string => join(FOLDER, `${spec}.json`);

/** The parts of a text that no range with a count covers, when inner ranges overrule outer ones. */
export function notRun(length: number, ranges: readonly Range[]): [number, number][] {
  const ran = new Uint8Array(length);
  const outerFirst = [...ranges].sort((a, b) => b.endOffset - b.startOffset - (a.endOffset - a.startOffset));
  for (const { startOffset, endOffset, count } of outerFirst)
    ran.fill(count > 0 ? 1 : 0, startOffset, endOffset);
  const parts: [number, number][] = [];
  for (let at = ran.indexOf(0); at >= 0; at = ran.indexOf(0, at)) {
    const next = ran.indexOf(1, at);
    const end = next < 0 ? length : next;
    parts.push([at, end]);
    at = end;
  }
  return parts;
}

/**
 * The specs that run a place of one of these core files. Specs are measured once, all in one run of jest, and again
 * only after their own text or that of one of the files has changed.
 * @throws Error for specs that fail without a change
 */
export function measuredCoverage(
  root: string,
  files: readonly string[],
): (file: string, offset: number) => Covering[] {
  const specs = specsThatLoad(root, files).filter((spec) => !APART.test(spec));
  // Once more, since a busy machine may fail a spec. A spec without coverage would find nothing, unnoticed.
  for (let tries = 0; tries < 2; tries++) {
    const stale = specs.filter((spec) => !known(root, spec, files));
    if (stale.length > 0) measure(root, stale);
  }
  const failing = specs.filter((spec) => !known(root, spec, files));
  if (failing.length > 0) throw new Error(`without a change these specs fail: ${failing.join(", ")}`);
  const measured = specs.flatMap((spec) => {
    const coverage = known(root, spec, files);
    return coverage ? [{ spec, coverage }] : [];
  });
  const lengths = new Map<string, number>();
  const lengthOf = (file: string): number => {
    const path = join(root, file);
    // A file that was measured, and moved since.
    const length = lengths.get(file) ?? (existsSync(path) ? readFileSync(path, "utf8").length : 0);
    lengths.set(file, length);
    return length;
  };
  const ranOf = ({ files }: SpecCoverage, file: string): number =>
    Math.max(
      0,
      lengthOf(file) - (files[file]?.notRun ?? []).reduce((sum, [start, end]) => sum + end - start, 0),
    );
  const all = measured.map(({ spec, coverage }) => {
    const ran = Object.keys(coverage.files).reduce((sum, file) => sum + ranOf(coverage, file), 0);
    return { spec, coverage, ran };
  });
  return (file, offset) =>
    all.flatMap(({ spec, coverage, ran }) => {
      const own = coverage.files[file];
      if (!own || own.notRun.some(([start, end]) => start <= offset && offset < end)) return [];
      const ranOfFile = ranOf(coverage, file);
      return [{ spec, seconds: coverage.seconds, focus: (ranOfFile / lengthOf(file)) * (ranOfFile / ran) }];
    });
}

function known(root: string, spec: string, files: readonly string[]): SpecCoverage | undefined {
  const path = join(root, coverageFile(spec));
  if (!existsSync(path)) return undefined;
  const coverage = JSON.parse(readFileSync(path, "utf8")) as SpecCoverage;
  const same = (file: string, hash: string | undefined) =>
    hash === undefined || hashOf(readFileSync(join(root, file), "utf8")) === hash;
  const current = same(spec, coverage.hash) && files.every((file) => same(file, coverage.files[file]?.hash));
  return current ? coverage : undefined;
}

function measure(root: string, specs: readonly string[]): void {
  const node = ["--disable-warning=ExperimentalWarning", "--experimental-vm-modules"];
  const globs = Object.values(areas).flat();
  const args = [
    ...["--ci", "--maxWorkers=2", "--coverage", "--coverageReporters=none", "--reporters=default"],
    `--reporters=${join(import.meta.dirname, "coverage-reporter.ts")}`,
    ...globs.map((glob) => `--collectCoverageFrom=${glob}`),
    ...["--runTestsByPath", ...specs],
  ];
  spawnSync(process.execPath, [...node, join(root, "node_modules/jest/bin/jest.js"), ...args], {
    ...{ cwd: root, stdio: "inherit" },
  });
}
