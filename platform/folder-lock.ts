import { closeSync, openSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

const SQLITE_BUSY = 5;

/** Another process uses the folder. */
export class FolderInUse extends Error {}

/**
 * Locks the data folder for this process. It is a file lock of the operating system, which ends with the process even
 * after kill -9, so a lock is never stale. SQLite takes it, because Node has no function for it.
 * @returns a function that releases the lock and removes its file
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
    // The former owner may have removed the file after we opened it: then our lock is useless, so try again.
    if (statSync(path, { throwIfNoEntry: false })?.ino === before) {
      return () => {
        rmSync(path, { force: true });
        file.close();
      };
    }
    file.close();
  }
}
