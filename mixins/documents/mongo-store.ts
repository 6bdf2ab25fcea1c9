import { createRequire } from "node:module";
import type { Collection, Db, Document, FindCursor, MongoClient } from "mongodb";
import { fail, typeOf } from "../../contracts/errors.ts";
import { waitAtMost, withTimeout } from "../../lib/timeout.ts";
import { groupInserts } from "./group-insert.ts";
import { type SharedClient, shareClient } from "./mongo-client.ts";
import { duplicatesOf, isDuplicate, isUnavailable } from "./mongo-errors.ts";
import { ensureIndexes } from "./mongo-indexes.ts";
import type { Search, Store, StoredDocument, StoreOptions } from "./port.ts";

/** A read is a part of a request, which has 1.8 s in all. */
const READ_MS = 900;
const WRITE_MS = 8_000;
/** How long the start of a service waits for MongoDB. After that it starts without it: only projections need it. */
const START_MS = 2_000;
/** After a failure the store counts as unavailable for this time, independent of the state of the driver. */
const PAUSE_MS = 1_000;
/** The second attempt distinguishes a newer document from one that was removed between insert and replace. */
const PUT_TRIES = 2;
const INDEX_RETRY_MS = 5_000;

/** The methods of moleculer-db-adapter-mongo 0.5 that work with the current driver. */
interface Adapter {
  client: MongoClient;
  db: Db;
  collection: Collection<StoredDocument & Document>;
  createCursor(search: Search, isCounting: false): FindCursor<StoredDocument>;
  removeMany(query: object): Promise<number>;
  count(what: { query: object }): Promise<number>;
  findById(id: string): Promise<object | null>;
}
type AdapterClass = new (uri: string) => Adapter;

/** A collection in MongoDB. */
export function mongoStore(options: StoreOptions & { mongoUrl: string; database: string }): Store {
  const { mongoUrl, database, collection, indexes, logger } = options;
  const MongoAdapter = createRequire(import.meta.url)("moleculer-db-adapter-mongo") as AdapterClass;

  /** The adapter was written for the driver of 2021. Connecting, closing and ids are replaced here. */
  class CurrentAdapter extends MongoAdapter {
    open(client: MongoClient) {
      this.client = client;
      this.db = client.db(database);
      this.collection = this.db.collection(collection);
    }
    /** Ids stay strings, also those that have the form of an ObjectId. */
    stringToObjectID(id: string) {
      return id;
    }
  }

  const adapter = new CurrentAdapter(mongoUrl);
  let shared: SharedClient | undefined;
  let pausedUntilMs = 0;
  let indexing: NodeJS.Timeout | undefined;

  const runWithin = async <T>(ms: number, work: () => Promise<T>): Promise<T> => {
    try {
      return await withTimeout(ms, work);
    } catch (error) {
      if (!isUnavailable(error)) throw error;
      pausedUntilMs = performance.now() + PAUSE_MS;
      logger.debug(`${collection}:`, String(error));
      throw unavailable();
    }
  };

  /** Fails at once while the driver knows that the server is unavailable: a request has little time. */
  const read = async <T>(work: () => Promise<T>): Promise<T> => {
    if (!shared?.reachable()) throw unavailable();
    return await runWithin(READ_MS, work);
  };

  const insertNew = groupInserts(
    (documents) =>
      runWithin(WRITE_MS, async () => {
        try {
          await adapter.collection.insertMany([...documents], { ordered: false });
          return new Set<string>();
        } catch (error) {
          if (!isDuplicate(error)) throw error;
          return new Set(duplicatesOf(error).map((index) => documents[index]?._id ?? ""));
        }
      }),
    (error) => typeOf(error) === "SERVICE_UNAVAILABLE",
  );

  /** Repeats after any error. Without indexes, queries work but are slow. */
  const createIndexes = async (): Promise<void> => {
    try {
      await ensureIndexes(adapter.collection as never, indexes, logger);
    } catch (error) {
      if (!shared) return;
      logger.warn(`${collection}: cannot create its indexes, will retry:`, (error as Error).message);
      indexing = setTimeout(createIndexes, INDEX_RETRY_MS);
      indexing.unref();
    }
  };

  return {
    available: () => shared?.reachable() === true && performance.now() >= pausedUntilMs,
    async connect() {
      shared = shareClient(mongoUrl, logger);
      adapter.open(shared.client);
      const prepared = shared.connected.then(createIndexes, () => undefined);
      // All collections of the process share one start time, so they wait only once together.
      const leftMs = START_MS - (performance.now() - shared.openedAtMs);
      await waitAtMost(Math.max(0, leftMs), prepared);
    },
    async disconnect() {
      const closing = shared;
      shared = undefined;
      clearTimeout(indexing);
      await closing?.release();
    },
    async insert(documents) {
      if (documents.length > 0) await insertNew(documents);
    },
    async put(document, version) {
      const filter = notNewerThan(document, version);
      // Most documents are new, so the insert comes first. A document that was removed after the insert is inserted again.
      for (let tries = 1; tries <= PUT_TRIES; tries++) {
        const known = await insertNew([document]);
        if (!known.has(document._id)) return;
        const replace = () => adapter.collection.replaceOne(filter, document);
        const { matchedCount } = await runWithin(WRITE_MS, replace);
        if (matchedCount > 0) return;
      }
    },
    get: (id) => read(async () => (await adapter.findById(id)) ?? undefined),
    find: (search) => read(() => adapter.createCursor(search, false).maxTimeMS(READ_MS).toArray()),
    count: (query) => runWithin(WRITE_MS, () => adapter.count({ query })),
    remove: (query) => runWithin(WRITE_MS, () => adapter.removeMany(query)),
    async *batches(size) {
      const cursor = adapter.collection.find({}).batchSize(size);
      try {
        for (;;) {
          const batch: object[] = [];
          await runWithin(WRITE_MS, async () => {
            while (batch.length < size && (await cursor.hasNext()))
              batch.push((await cursor.next()) as object);
          });
          if (batch.length === 0) return;
          yield batch;
        }
      } finally {
        await cursor.close().catch(() => undefined);
      }
    },
  };
}

/** A filter for the stored document, unless it is newer than this one. */
function notNewerThan(document: StoredDocument, version: string | undefined): object {
  const { _id } = document;
  if (version === undefined) return { _id };
  const own = (document as unknown as Record<string, unknown>)[version];
  return { _id, $or: [{ [version]: { $lte: own } }, { [version]: { $exists: false } }] };
}

const unavailable = () => fail("SERVICE_UNAVAILABLE", "The document store cannot be reached.");
