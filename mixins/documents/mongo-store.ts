import { createRequire } from "node:module";
import type { Collection, Db, Document, FindCursor, MongoClient } from "mongodb";
import { fail, typeOf } from "../../contracts/errors.ts";
import { waitAtMost, withTimeout } from "../../lib/timeout.ts";
import { groupInserts } from "./group-insert.ts";
import { type SharedClient, shareClient } from "./mongo-client.ts";
import { duplicatesOf, isAway, isDuplicate } from "./mongo-errors.ts";
import { ensureIndexes } from "./mongo-indexes.ts";
import type { Search, Store, StoredDocument, StoreOptions } from "./port.ts";

/** A read belongs to a request, whose service has 1.4 s for everything. */
const READ_MS = 900;
const WRITE_MS = 8_000;
/** How long the start of a service waits for MongoDB; it then starts without, since only projections need it. */
const START_MS = 2_000;
/** After a failure the store counts as away for so long, whatever the driver's view of it is. */
const PAUSE_MS = 1_000;
/** The second one tells a newer document from one that had just been removed. */
const PUT_TRIES = 2;
const INDEX_RETRY_MS = 5_000;

/** moleculer-db-adapter-mongo 0.5, as far as its class works on today's driver. */
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

  /** The adapter was written for the driver of 2021: connecting, ending and ids are done anew here. */
  class ModernAdapter extends MongoAdapter {
    open(client: MongoClient) {
      this.client = client;
      this.db = client.db(database);
      this.collection = this.db.collection(collection);
    }
    /** Ids stay the strings that they are, also those that look like an ObjectId. */
    stringToObjectID(id: string) {
      return id;
    }
  }

  const adapter = new ModernAdapter(mongoUrl);
  let shared: SharedClient | undefined;
  let pausedUntilMs = 0;
  let indexing: NodeJS.Timeout | undefined;

  const bounded = async <T>(ms: number, work: () => Promise<T>): Promise<T> => {
    try {
      return await withTimeout(ms, work);
    } catch (error) {
      if (!isAway(error)) throw error;
      pausedUntilMs = performance.now() + PAUSE_MS;
      logger.debug(`${collection}:`, String(error));
      throw away();
    }
  };

  /** A request does not wait for a server that the driver knows to be away: what it has left is short. */
  const read = async <T>(work: () => Promise<T>): Promise<T> => {
    if (!shared?.reachable()) throw away();
    return await bounded(READ_MS, work);
  };

  const insertUnknown = groupInserts(
    (documents) =>
      bounded(WRITE_MS, async () => {
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

  /** Once it is connected; whatever goes wrong then is tried again, since without them all works, but slowly. */
  const makeIndexes = async (): Promise<void> => {
    try {
      await ensureIndexes(adapter.collection as never, indexes, logger);
    } catch (error) {
      if (!shared) return;
      logger.warn(`${collection}: its indexes could not be made, later again:`, (error as Error).message);
      indexing = setTimeout(makeIndexes, INDEX_RETRY_MS);
      indexing.unref();
    }
  };

  return {
    available: () => shared?.reachable() === true && performance.now() >= pausedUntilMs,
    async connect() {
      shared = shareClient(mongoUrl, logger);
      adapter.open(shared.client);
      const prepared = shared.connected.then(makeIndexes, () => undefined);
      // Once for all collections of the process, not for each.
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
      if (documents.length > 0) await insertUnknown(documents);
    },
    async put(document, version) {
      const filter = replaceable(document, version);
      // Most are new. One that is known is replaced if it is older; what is then no longer there is new again.
      for (let tries = 1; tries <= PUT_TRIES; tries++) {
        const known = await insertUnknown([document]);
        if (!known.has(document._id)) return;
        const replace = () => adapter.collection.replaceOne(filter, document);
        const { matchedCount } = await bounded(WRITE_MS, replace);
        if (matchedCount > 0) return;
      }
    },
    get: (id) => read(async () => (await adapter.findById(id)) ?? undefined),
    find: (search) => read(() => adapter.createCursor(search, false).maxTimeMS(READ_MS).toArray()),
    count: (query) => bounded(WRITE_MS, () => adapter.count({ query })),
    remove: (query) => bounded(WRITE_MS, () => adapter.removeMany(query)),
    async *batches(size) {
      const cursor = adapter.collection.find({}).batchSize(size);
      try {
        for (;;) {
          const batch: object[] = [];
          await bounded(WRITE_MS, async () => {
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

/** Finds the document that this one may replace. No match for a known id: a newer one is stored. */
function replaceable(document: StoredDocument, version: string | undefined): object {
  const { _id } = document;
  if (version === undefined) return { _id };
  const own = (document as unknown as Record<string, unknown>)[version];
  return { _id, $or: [{ [version]: { $lte: own } }, { [version]: { $exists: false } }] };
}

const away = () => fail("SERVICE_UNAVAILABLE", "The document store cannot be reached.");
