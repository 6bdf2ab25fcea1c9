import { execFileSync, spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

/** A spec that takes so long with a change waits for something that will not happen: the change is found. */
const RUN_TIMEOUT_MS = 120_000;

export interface Sandbox {
  /** Those of the specs that run this line of the file. */
  covering(file: string, line: number, specs: string[]): Promise<string[]>;
  /** Runs `body` while the file has another text. */
  withFile<T>(file: string, text: string, body: () => Promise<T>): Promise<T>;
  /** Whether one of the specs fails. */
  fails(specs: string[]): Promise<boolean>;
  close(): void;
}

/** The statements of a file with how often each ran, as istanbul's JSON has them. */
interface FileCoverage {
  statementMap: Record<string, { start: { line: number }; end: { line: number } }>;
  s: Record<string, number>;
}

/** A copy of the sources beside the same node_modules, in which one file at a time is changed. */
export async function openSandbox(root: string): Promise<Sandbox> {
  const folder = mkdtempSync(join(tmpdir(), "waybill-mutation-"));
  const tracked = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], {
    cwd: root,
    encoding: "utf8",
  });
  for (const file of tracked.split("\n").filter(Boolean)) {
    mkdirSync(join(folder, dirname(file)), { recursive: true });
    cpSync(join(root, file), join(folder, file));
  }
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  const linesRun = new Map<string, Set<number>>();

  const measure = async (file: string, spec: string): Promise<Set<number>> => {
    const known = linesRun.get(`${file}\0${spec}`);
    if (known) return known;
    const reports = join(folder, "coverage-of-one");
    rmSync(reports, { recursive: true, force: true });
    const flags = [
      "--coverage",
      "--coverageReporters=json",
      `--coverageDirectory=${reports}`,
      `--collectCoverageFrom=${file}`,
    ];
    const passed = await runJest(folder, [...flags, spec]);
    // A spec that fails without a change would find every change.
    const lines = passed
      ? linesOf(join(reports, "coverage-final.json"), join(folder, file))
      : new Set<number>();
    linesRun.set(`${file}\0${spec}`, lines);
    return lines;
  };

  return {
    async covering(file, line, specs) {
      const found: string[] = [];
      for (const spec of specs) {
        if ((await measure(file, spec)).has(line)) found.push(spec);
      }
      return found;
    },
    async withFile(file, text, body) {
      const path = join(folder, file);
      const before = readFileSync(path, "utf8");
      writeFileSync(path, text);
      try {
        return await body();
      } finally {
        writeFileSync(path, before);
      }
    },
    fails: async (specs) => !(await runJest(folder, ["--bail", ...specs])),
    close: () => rmSync(folder, { recursive: true, force: true }),
  };
}

function linesOf(path: string, file: string): Set<number> {
  const coverage = (JSON.parse(readFileSync(path, "utf8")) as Record<string, FileCoverage>)[file];
  const lines = new Set<number>();
  for (const [key, { start, end }] of Object.entries(coverage?.statementMap ?? {})) {
    if (!coverage?.s[key]) continue;
    for (let line = start.line; line <= end.line; line++) lines.add(line);
  }
  return lines;
}

/** @returns whether every test passed */
function runJest(folder: string, args: string[]): Promise<boolean> {
  const node = ["--disable-warning=ExperimentalWarning", "--experimental-vm-modules"];
  const jest = [...node, join(folder, "node_modules/jest/bin/jest.js"), "--ci", "--maxWorkers=1", ...args];
  const child = spawn(process.execPath, jest, { cwd: folder, stdio: "ignore", detached: true });
  const timer = setTimeout(() => process.kill(-(child.pid as number), "SIGKILL"), RUN_TIMEOUT_MS);
  return new Promise((done) => {
    child.once("exit", (code) => {
      clearTimeout(timer);
      done(code === 0);
    });
  });
}
