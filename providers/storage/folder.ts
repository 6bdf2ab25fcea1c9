import { constants } from "node:fs";
import { access, mkdir, open, readdir, readFile, rename, rm, rmdir, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { newId } from "../../lib/ids.ts";
import { requireKey, requirePrefix, type Storage, StorageError } from "./port.ts";

const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;
/** No valid key begins with a dot, so an incomplete file cannot be read. */
const INCOMING = ".incoming";
const ABANDONED_AFTER_MS = 3_600_000;
const RENAME_TRIES = 5;

/** Objects as files in one local folder. Creates a missing folder. */
export function folderStorage(folder: string): Storage {
  const root = resolve(folder);
  const incoming = join(root, INCOMING);
  let cleaned: Promise<void> | undefined;

  /** Removes the incomplete files of processes that were killed. */
  async function removeAbandoned(): Promise<void> {
    await mkdir(incoming, { recursive: true, mode: FOLDER_MODE });
    for (const name of await readdir(incoming)) {
      const { mtimeMs } = await stat(join(incoming, name)).catch(() => ({
        mtimeMs: Number.POSITIVE_INFINITY,
      }));
      if (Date.now() - mtimeMs > ABANDONED_AFTER_MS) await rm(join(incoming, name), { force: true });
    }
  }

  return {
    async open() {
      await reachable(() => mkdir(root, { recursive: true, mode: FOLDER_MODE }));
    },
    async put(key, bytes) {
      const target = join(root, requireKey(key));
      await reachable(async () => {
        cleaned ??= removeAbandoned();
        await cleaned.catch(() => {
          cleaned = undefined;
        });
        await mkdir(incoming, { recursive: true, mode: FOLDER_MODE });
        const draft = join(incoming, newId());
        try {
          await writeDurably(draft, bytes);
          await renameInto(draft, target);
        } catch (error) {
          await rm(draft, { force: true });
          throw error;
        }
        await syncFolder(dirname(target)).catch((error) => {
          if (!isAbsent(error)) throw error; // another caller has deleted the object and its folder
        });
      });
    },
    async get(key) {
      const source = join(root, requireKey(key));
      return reachable(() =>
        readFile(source).catch((error) => {
          if (isAbsent(error)) return undefined;
          throw error;
        }),
      );
    },
    async delete(key) {
      const target = join(root, requireKey(key));
      await reachable(() =>
        rm(target).catch((error) => {
          if (!isAbsent(error)) throw error;
        }),
      );
      // Removes the folder with its last object.
      if (dirname(target) !== root) await rmdir(dirname(target)).catch(() => undefined);
    },
    async list(prefix, limit) {
      const from = requirePrefix(prefix);
      const keys: string[] = [];
      await reachable(() => collect(root, from, limit, keys));
      return keys;
    },
    async ready() {
      const usable = mkdir(root, { recursive: true, mode: FOLDER_MODE }).then(() =>
        access(root, constants.R_OK | constants.W_OK),
      );
      return usable.then(
        () => true,
        () => false,
      );
    },
    close: () => undefined,
  };
}

/** Repeats, because a concurrent delete may remove the folder while it is empty. */
async function renameInto(draft: string, target: string): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      // A delete at the same moment may remove a parent folder under mkdir too.
      await mkdir(dirname(target), { recursive: true, mode: FOLDER_MODE });
      return await rename(draft, target);
    } catch (error) {
      if (!isAbsent(error) || tries === RENAME_TRIES) throw error;
    }
  }
}

/** Adds the keys below a folder in their order, up to `limit`. */
async function collect(root: string, prefix: string, limit: number, keys: string[]): Promise<void> {
  const entries = await readdir(join(root, prefix), { withFileTypes: true }).catch((error) => {
    if (isAbsent(error)) return [];
    throw error;
  });
  // Sorts folders with their slash, as their keys sort.
  const names = entries.map((entry) => `${entry.name}${entry.isDirectory() ? "/" : ""}`).sort();
  for (const name of names) {
    if (keys.length >= limit) return;
    if (name.endsWith("/")) await collect(root, prefix + name, limit, keys);
    else keys.push(prefix + name);
  }
}

async function writeDurably(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, "wx", FILE_MODE);
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Without it, the file's name may be lost in a power failure. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

async function reachable<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw new StorageError("unavailable", error);
  }
}

function isAbsent(error: unknown): boolean {
  const { code } = error as { code?: string };
  return code === "ENOENT" || code === "ENOTDIR";
}
