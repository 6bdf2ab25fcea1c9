import { execFileSync, spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { clearRun } from "../support/global-setup.ts";
import { createRunFolder } from "../support/test-run.ts";

/** Specs that take so long with a change wait for something that will not happen. */
const RUN_TIMEOUT_MS = 600_000;
/** How long one condition is waited for, where the tests wait for 45 s: most changes are found by such a wait. */
const PATIENCE_MS = 15_000;

export interface Ending {
  /** `broken`: jest itself ended without a word about its tests. */
  result: "passed" | "failed" | "broken";
  /** When a limit of time may be the cause: specs to run without the change, since a busy machine reaches it, too. */
  slow: readonly string[];
}

export interface Sandbox {
  /** Runs `body` while the file has another text, made of its own. */
  withFile<T>(file: string, change: (text: string) => string, body: () => Promise<T>): Promise<T>;
  /** Runs specs in this order until one fails. */
  run(specs: readonly string[]): Promise<Ending>;
  close(): Promise<void>;
}

/** A copy of the sources beside the same node_modules, in which one file at a time is changed. */
export function openSandbox(root: string): Sandbox {
  const folder = mkdtempSync(join(tmpdir(), "waybill-mutation-"));
  const files = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], {
    cwd: root,
    encoding: "utf8",
  });
  for (const file of files.split("\n").filter(Boolean)) {
    mkdirSync(join(folder, dirname(file)), { recursive: true });
    cpSync(join(root, file), join(folder, file));
  }
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  // All runs share a database server: to make one takes longer than most specs.
  let run = createRunFolder();
  return {
    async withFile(file, change, body) {
      const path = join(folder, file);
      const before = readFileSync(path, "utf8");
      writeFileSync(path, change(before));
      try {
        return await body();
      } finally {
        writeFileSync(path, before);
      }
    },
    async run(specs) {
      const { isKilled, ...ending } = await runJest(folder, run, specs);
      if (isKilled) {
        await clearRun(run);
        run = createRunFolder();
      }
      return ending;
    },
    async close() {
      await clearRun(run);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** @returns `isKilled`: at the limit of time, maybe together with the database server */
function runJest(
  folder: string,
  run: string,
  specs: readonly string[],
): Promise<Ending & { isKilled: boolean }> {
  const args = [
    ...["--disable-warning=ExperimentalWarning", "--experimental-vm-modules"],
    ...[join(folder, "node_modules/jest/bin/jest.js"), "--ci", "--runInBand", "--bail", "--runTestsByPath"],
    ...specs,
    `--testEnvironment=${join(folder, "test/mutation/environment.js")}`,
    `--testSequencer=${join(folder, "test/mutation/sequencer.js")}`,
    `--globalSetup=${join(folder, "test/mutation/global-setup.js")}`,
    `--globalTeardown=${join(folder, "test/mutation/global-teardown.ts")}`,
  ];
  const child = spawn(process.execPath, args, {
    ...{ cwd: folder, stdio: ["ignore", "ignore", "pipe"], detached: true },
    env: {
      ...process.env,
      ...{ MUTATION_SPECS: specs.join(","), TEST_PATIENCE_MS: String(PATIENCE_MS), WAYBILL_TEST_RUN: run },
    },
  });
  let said = "";
  child.stderr.on("data", (text) => {
    said += text;
  });
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    process.kill(-(child.pid as number), "SIGKILL");
  }, RUN_TIMEOUT_MS);
  const startedAt = Date.now();
  return new Promise((done) => {
    const end = (result: Ending["result"]) => {
      clearTimeout(timer);
      const waited = result === "failed" && Date.now() - startedAt >= PATIENCE_MS;
      const failed = specs.filter((spec) => said.includes(`FAIL ${spec}`));
      const slow = !waited ? [] : failed.length > 0 ? failed : specs;
      done({ result, slow, isKilled: isLate });
    };
    child.once("error", () => end("broken"));
    child.once("exit", (code) => {
      if (code === 0) return end("passed");
      end(isLate || /^(?:FAIL |Test Suites: \d+ failed)/m.test(said) ? "failed" : "broken");
    });
  });
}
