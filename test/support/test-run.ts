import {
  accessSync,
  constants,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

const PREFIX = "waybill-test-";
const LOCK_POLL_MS = 20;
/** Linux keeps this folder in memory. */
const MEMORY_FOLDER = "/dev/shm";
/** The databases of a run have needed 1 GB at most. */
const MEMORY_MIN_BYTES = 4 * 1024 ** 3;

/**
 * One folder for one run of jest: what its workers share (a database server, a platform) is found there. Where there is room
 * it is in memory: every spec makes databases and drops them, and a third of PostgreSQL's work was that of the disk's file
 * system.
 */
export function createRunFolder(): string {
  const folder = mkdtempSync(join(hasMemoryFolder() ? MEMORY_FOLDER : tmpdir(), PREFIX));
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
  const parents = hasMemoryFolder() ? [MEMORY_FOLDER, tmpdir()] : [tmpdir()];
  return parents
    .flatMap((parent) => readdirSync(parent).map((name) => join(parent, name)))
    .filter((folder) => basename(folder).startsWith(PREFIX))
    .filter((folder) => {
      try {
        process.kill(Number(readFileSync(join(folder, "pid"), "utf8")), 0);
        return false;
      } catch (error) {
        return (error as NodeJS.ErrnoException).code === "ESRCH";
      }
    });
}

function hasMemoryFolder(): boolean {
  try {
    accessSync(MEMORY_FOLDER, constants.W_OK);
    const { bavail, bsize } = statfsSync(MEMORY_FOLDER);
    return bavail * bsize >= MEMORY_MIN_BYTES;
  } catch {
    return false;
  }
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
