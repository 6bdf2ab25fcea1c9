import { fail, typeOf } from "../../contracts/errors.ts";
import { Database, type Db, isConnectionTrouble } from "../../lib/sql/database.ts";
import { groupInserts } from "./group-insert.ts";
import type { Store, StoreLocation, StoreOptions } from "./port.ts";
import * as repository from "./postgres.repository.ts";

/** One connection for the writes, which run one group after another, and two for reads. */
const POOL_SIZE = 3;
/** After a failure the store counts as unavailable for this time. */
const PAUSE_MS = 1_000;

type PostgresLocation = NonNullable<StoreLocation["postgres"]>;

/**
 * A collection in the schema `documents` of the service's database: see migrations/shared/documents.ts. It has a separate
 * pool, so that reads never wait for writes of the service.
 *
 * Its commits do not wait for the disk. That is safe: the message of a document is marked as done after it, in the same
 * write-ahead log and with a commit that waits. Once that mark is on the disk, the document is too.
 */
export function postgresStore({
  postgres,
  collection,
  logger,
}: Pick<StoreOptions, "collection" | "logger"> & { postgres: PostgresLocation }): Store {
  const table = `documents.${collection}`;
  let pool: Database | undefined;
  let pausedUntilMs = 0;

  const run = async <T>(work: (db: Db) => Promise<T>): Promise<T> => {
    if (!pool) throw unavailable();
    try {
      return await work(pool);
    } catch (error) {
      if (!isConnectionTrouble(error)) throw error;
      pausedUntilMs = performance.now() + PAUSE_MS;
      logger.debug(`${collection}:`, String(error));
      throw unavailable();
    }
  };
  const isUnavailable = (error: unknown) => typeOf(error) === "SERVICE_UNAVAILABLE";
  const noIds: ReadonlySet<string> = new Set();
  const insertNew = groupInserts(
    (documents) => run((db) => repository.insert(db, table, documents)).then(() => noIds),
    isUnavailable,
  );
  const puts = new Map<string | undefined, ReturnType<typeof groupInserts>>();
  /** One group of writes for each version field. */
  const putsBy = (version: string | undefined) => {
    const existing = puts.get(version);
    if (existing) return existing;
    const group = groupInserts(
      (documents) => run((db) => repository.put(db, table, documents, version)).then(() => noIds),
      isUnavailable,
    );
    puts.set(version, group);
    return group;
  };

  return {
    available: () => pool !== undefined && performance.now() >= pausedUntilMs,
    async connect() {
      pool = new Database({
        ...postgres,
        poolSize: POOL_SIZE,
        applicationName: `waybill documents ${collection}`,
        synchronousCommit: false,
      });
    },
    async disconnect() {
      const closing = pool;
      pool = undefined;
      await closing?.close();
    },
    async insert(documents) {
      if (documents.length > 0) await insertNew(documents);
    },
    async put(document, version) {
      await putsBy(version)([document]);
    },
    get: (id) => run((db) => repository.get(db, table, id)),
    find: (search) => run((db) => repository.find(db, table, search)),
    count: (query) => run((db) => repository.count(db, table, query)),
    remove: (query) => run((db) => repository.remove(db, table, query)),
    async *batches(size) {
      for (let after = ""; ; ) {
        const batch = await run((db) => repository.batchAfter(db, table, after, size));
        const last = batch.at(-1);
        if (!last) return;
        yield batch;
        after = last._id;
      }
    },
    isFilled: () => run((db) => repository.isFilled(db, collection)),
    markFilled: () => run((db) => repository.markFilled(db, collection)),
  };
}

const unavailable = () => fail("SERVICE_UNAVAILABLE", "The document store cannot be reached.");
