import { closeSync, openSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

const SQLITE_BUSY = 5;

/** Another process works in the folder. */
export class FolderInUse extends Error {}

/**
 * Takes the data folder for this process. The lock is the operating system's own, on an open file (SQLite takes
 * it for us, Node itself has no call for that): it ends with the process, even by kill -9, so no lock is stale.
 * @returns gives the folder back and removes the lock's file
 * @throws FolderInUse while another process has it
 */
export function lockFolder(dataDir: string): () => void {
  const path = join(dataDir, "platform.lock");
  for (;;) {
    closeSync(openSync(path, "a", 0o600));
    const before = statSync(path).ino;
    const file = new DatabaseSync(path);
    try {
      file.exec("PRAGMA busy_timeout = 0; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE");
    } catch (error) {
      file.close();
      if ((error as { errcode?: number }).errcode === SQLITE_BUSY) throw new FolderInUse();
      throw error;
    }
    // Whoever had it may have removed the file after we opened it: then we hold a lock that nobody will meet.
    if (statSync(path, { throwIfNoEntry: false })?.ino === before) {
      return () => {
        rmSync(path, { force: true });
        file.close();
      };
    }
    file.close();
  }
}
