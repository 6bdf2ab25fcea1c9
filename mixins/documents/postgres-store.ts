import type { Knex } from "knex";
import { fail, typeOf } from "../../contracts/errors.ts";
import { isConnectionTrouble, openDatabase } from "../../lib/sql/database.ts";
import { groupInserts } from "./group-insert.ts";
import type { Store, StoreOptions, StorePlace } from "./port.ts";
import * as repository from "./postgres.repository.ts";

/** One for the writes, which go one group after the other, and two that are free for reads at any time. */
const POOL_SIZE = 3;
/** After a failure the store counts as away for so long. */
const PAUSE_MS = 1_000;

type PostgresPlace = NonNullable<StorePlace["postgres"]>;

/**
 * A collection in the schema `documents` of the service's own database: see migrations/shared/documents.ts. It has
 * connections of its own, so that reads never wait behind the service's writing.
 *
 * Its commits do not wait for the disk. The message that a document comes from is marked as done after it, in the same
 * server's log and with a commit that waits: when the mark is on the disk, the document is.
 */
export function postgresStore({
  postgres,
  collection,
  logger,
}: Pick<StoreOptions, "collection" | "logger"> & { postgres: PostgresPlace }): Store {
  const table = `documents.${collection}`;
  let pool: Knex | undefined;
  let pausedUntilMs = 0;

  const run = async <T>(work: (db: Knex) => Promise<T>): Promise<T> => {
    if (!pool) throw away();
    try {
      return await work(pool);
    } catch (error) {
      if (!isConnectionTrouble(error)) throw error;
      pausedUntilMs = performance.now() + PAUSE_MS;
      logger.debug(`${collection}:`, String(error));
      throw away();
    }
  };
  const isAway = (error: unknown) => typeOf(error) === "SERVICE_UNAVAILABLE";
  const none: ReadonlySet<string> = new Set();
  const insertUnknown = groupInserts(
    (documents) => run((db) => repository.insert(db, table, documents)).then(() => none),
    isAway,
  );
  const puts = new Map<string | undefined, ReturnType<typeof groupInserts>>();
  const putNewest = (version: string | undefined) => {
    const known = puts.get(version);
    if (known) return known;
    const group = groupInserts(
      (documents) => run((db) => repository.put(db, table, documents, version)).then(() => none),
      isAway,
    );
    puts.set(version, group);
    return group;
  };

  return {
    available: () => pool !== undefined && performance.now() >= pausedUntilMs,
    async connect() {
      pool = openDatabase({
        ...postgres,
        poolSize: POOL_SIZE,
        applicationName: `waybill documents ${collection}`,
        synchronousCommit: false,
      });
    },
    async disconnect() {
      const closing = pool;
      pool = undefined;
      await closing?.destroy();
    },
    async insert(documents) {
      if (documents.length > 0) await insertUnknown(documents);
    },
    async put(document, version) {
      await putNewest(version)([document]);
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

const away = () => fail("SERVICE_UNAVAILABLE", "The document store cannot be reached.");
