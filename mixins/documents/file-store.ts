import { join } from "node:path";
import database from "moleculer-db";
import type { Store } from "./documents.mixin.ts";

const COMPACT_AFTER_CHANGES = 10_000;

/** The NeDB behind moleculer-db's adapter, as far as its interface does not reach. */
interface Datastore {
  ensureIndex(options: { fieldName: string }): Promise<void>;
  compactDatafileAsync(): Promise<void>;
  update(query: object, update: object, options: object): Promise<unknown[]>;
  updateAsync(query: object, update: object, options: object): Promise<Updated>;
}
interface Updated {
  numAffected: number;
  affectedDocuments: object | null;
}
type FileAdapter = Store & { db: Datastore };
type AdapterClass = new (options: object) => FileAdapter;

/**
 * A collection in one file, read whole into memory when it opens and appended to at every change. For one node:
 * the file has one writer. Opening it also compacts it.
 */
export function fileStore(
  collection: string,
  dir: string | undefined,
  indexes: readonly string[],
  compactAfterChanges = COMPACT_AFTER_CHANGES,
): Store {
  const { MemoryAdapter } = database as unknown as { MemoryAdapter: AdapterClass };
  const adapter = new MemoryAdapter(
    dir === undefined
      ? { inMemoryOnly: true }
      : {
          filename: join(dir, `${collection}.db`),
          modes: { fileMode: 0o600, dirMode: 0o700 },
          // A kill can tear the line that was being written. Nobody was told that it is safe, so it comes again;
          // the default would refuse to open a file of fewer than ten lines because of it.
          corruptAlertThreshold: 1,
        },
  );
  let changes = 0;
  let compacting = Promise.resolve();

  /** Each update and removal leaves a dead line; the more documents live, the more of them are worth a rewrite. */
  const changed = async () => {
    changes++;
    if (changes < compactAfterChanges) return;
    const alive = await adapter.count({ query: {} });
    if (changes < Math.max(compactAfterChanges, alive)) return;
    changes = 0;
    compacting = adapter.db.compactDatafileAsync().catch(() => undefined);
  };

  return {
    init: (broker, service) => adapter.init(broker, service),
    insert: (document) => adapter.insert(document),
    findById: (id) => adapter.findById(id),
    find: (what) => adapter.find(what),
    count: (what) => adapter.count(what),
    async connect() {
      await adapter.connect();
      // The adapter wraps a promise into a promise here, at which Node prints a deprecation.
      const { db } = adapter;
      db.update = async (...args) => {
        const { numAffected, affectedDocuments } = await db.updateAsync(...args);
        return [numAffected, affectedDocuments];
      };
      for (const fieldName of indexes) await adapter.db.ensureIndex({ fieldName });
    },
    async disconnect() {
      await compacting;
      // The store works its queue off in order: when this is answered, everything before it is in the file.
      await adapter.findById("");
      await adapter.disconnect();
    },
    async updateById(id, update) {
      const updated = await adapter.updateById(id, update);
      await changed();
      return updated;
    },
    async removeMany(query) {
      const removed = await adapter.removeMany(query);
      await changed();
      return removed;
    },
  };
}
