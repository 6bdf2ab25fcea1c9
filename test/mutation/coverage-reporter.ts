import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import type { SpecCoverage } from "./coverage.ts";
import { coverageFile, hashOf, notRun, type Range } from "./coverage.ts";

interface TestResult {
  testFilePath: string;
  numFailingTests: number;
  testExecError?: unknown;
  perfStats: { runtime: number };
  v8Coverage?: { result: { url: string; functions: { ranges: Range[] }[] } }[];
}

/** Writes for each spec file which parts of each core file it does not run, as V8 has counted. */
export default class CoverageReporter {
  readonly #root: string;

  constructor({ rootDir }: { rootDir: string }) {
    this.#root = rootDir;
  }

  onTestResult(_test: unknown, result: TestResult): void {
    // A spec that fails without a change would find every change.
    if (result.numFailingTests > 0 || result.testExecError) return;
    const spec = relative(this.#root, result.testFilePath);
    const coverage: SpecCoverage = {
      hash: hashOf(readFileSync(result.testFilePath, "utf8")),
      seconds: result.perfStats.runtime / 1000,
      files: Object.fromEntries(
        (result.v8Coverage ?? []).map(({ result: { url, functions } }) => {
          // Types are blanked out in place: V8's offsets are those of the source.
          const text = readFileSync(url, "utf8");
          const ranges = functions.flatMap((each) => each.ranges);
          return [relative(this.#root, url), { hash: hashOf(text), notRun: notRun(text.length, ranges) }];
        }),
      ),
    };
    const path = join(this.#root, coverageFile(spec));
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, JSON.stringify(coverage));
  }
}
