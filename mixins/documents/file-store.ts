import { join } from "node:path";
import database from "moleculer-db";
import type { Index, Search, Store, StoredDocument } from "./port.ts";

const COMPACT_AFTER_CHANGES = 10_000;

/** The NeDB behind moleculer-db's adapter, as far as its interface does not reach. */
interface Datastore {
  ensureIndex(options: { fieldName: string }): Promise<void>;
  compactDatafileAsync(): Promise<void>;
  updateAsync(query: object, update: object, options: object): Promise<unknown>;
}
interface FileAdapter {
  readonly db: Datastore;
  init(broker: unknown, service: unknown): void;
  connect(): Promise<void>;
  disconnect(): Promise<void>;
  insert(document: object): Promise<object>;
  findById(id: string): Promise<object | null>;
  find(search: Partial<Search>): Promise<object[]>;
  count(what: { query: object }): Promise<number>;
  removeMany(query: object): Promise<number>;
}
type AdapterClass = new (options: object) => FileAdapter;

export interface FileStoreOptions {
  collection: string;
  dir?: string | undefined;
  indexes?: readonly Index[];
  compactAfterChanges?: number;
}

/**
 * A collection in one file, read whole into memory when it opens and appended to at every change. For one node:
 * the file has one writer. Opening it also compacts it.
 */
export function fileStore({ collection, dir, indexes = [], ...options }: FileStoreOptions): Store {
  const { compactAfterChanges = COMPACT_AFTER_CHANGES } = options;
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
  let open = false;

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
    available: () => open,
    async connect() {
      await adapter.connect();
      // NeDB's indexes are of one field; the first one leaves little to look through.
      for (const [field] of indexes) {
        if (field) await adapter.db.ensureIndex({ fieldName: field.replace(/^-/, "") });
      }
      open = true;
    },
    async disconnect() {
      open = false;
      await compacting;
      // The store works its queue off in order: when this is answered, everything before it is in the file.
      await adapter.findById("");
      await adapter.disconnect();
    },
    async insert(documents) {
      for (const document of documents) await unlessKnown(adapter.insert(document));
    },
    async put(document, version) {
      await unlessKnown(adapter.db.updateAsync(replaceable(document, version), document, { upsert: true }));
      await changed();
    },
    async get(id) {
      return (await adapter.findById(id)) ?? undefined;
    },
    find: (search) => adapter.find(search),
    count: (query) => adapter.count({ query }),
    async remove(query) {
      const removed = await adapter.removeMany(query);
      await changed();
      return removed;
    },
    async *batches(size) {
      const all = await adapter.find({ query: {} });
      for (let i = 0; i < all.length; i += size) yield all.slice(i, i + size);
    },
  };
}

/** What a document may take the place of. When that is nothing and its id is known, a newer one is there. */
export function replaceable(document: StoredDocument, version: string | undefined): object {
  const { _id } = document;
  if (version === undefined) return { _id };
  const own = (document as unknown as Record<string, unknown>)[version];
  return { _id, $or: [{ [version]: { $lte: own } }, { [version]: { $exists: false } }] };
}

async function unlessKnown(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if ((error as { errorType?: string }).errorType !== "uniqueViolated") throw error;
  }
}
