import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

const PREFIX = "waybill-test-";
const LOCK_POLL_MS = 20;

/** One folder for one run of jest: what its workers share (a database server, a platform) is found there. */
export function createRunFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), PREFIX));
  writeFileSync(join(folder, "pid"), String(process.pid));
  process.env.WAYBILL_TEST_RUN = folder;
  return folder;
}

export function runFolder(): string {
  const folder = process.env.WAYBILL_TEST_RUN;
  if (!folder) throw new Error("tests run through jest.config.js, whose globalSetup makes the run's folder");
  return folder;
}

/** Folders of runs that were killed before their teardown. */
export function abandonedRunFolders(): string[] {
  return readdirSync(tmpdir())
    .filter((name) => name.startsWith(PREFIX))
    .map((name) => join(tmpdir(), name))
    .filter((folder) => {
      try {
        process.kill(Number(readFileSync(join(folder, "pid"), "utf8")), 0);
        return false;
      } catch (error) {
        return (error as NodeJS.ErrnoException).code === "ESRCH";
      }
    });
}

/** Runs `work` while no other worker of this run is inside the same name. */
export async function exclusively<T>(name: string, work: () => Promise<T>): Promise<T> {
  const lock = join(runFolder(), `${name}.lock`);
  for (;;) {
    try {
      mkdirSync(lock);
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      await delay(LOCK_POLL_MS);
    }
  }
  try {
    return await work();
  } finally {
    rmSync(lock, { recursive: true });
  }
}
