import type { Service, ServiceBroker, ServiceSchema } from "moleculer";
import { fail, typeOf } from "../../contracts/errors.ts";
import type { Logger } from "../../lib/logger.ts";
import { type Runner, startRunner } from "../../lib/messaging/runner.ts";
import { omitUndefined } from "../../lib/omit-undefined.ts";
import { background } from "../background/background.mixin.ts";
import type { Direction, Field, Query, Store, StoredDocument, StoreLocation, StoreOptions } from "./port.ts";
import { postgresStore } from "./postgres-store.ts";

export type { Query, StoredDocument, StoreLocation } from "./port.ts";

/** The maximum number of documents of one `find`. */
const FIND_MAX = 1_000;
/** The delay before a failed fill of a collection is repeated. */
const FILL_RETRY_MS = 10_000;

export interface Find<D> {
  query?: Query<D>;
  /** The fields to sort by, the most significant one first. */
  sort?: readonly Direction<D>[];
  /** Default and maximum: 1,000. */
  limit?: number;
}

export interface Documents<D extends StoredDocument> {
  /** Goes into the service's `mixins`; opens the collection when the service starts, closes it when it stops. */
  readonly mixin: Partial<ServiceSchema>;
  readonly collection: string;
  /** Adds documents. An existing one is not changed, so a repeated message has no effect. */
  insert(...documents: readonly D[]): Promise<void>;
  /** Inserts the document or replaces the one with its id, unless that has a newer version. */
  put(document: D): Promise<void>;
  get(id: string): Promise<D | undefined>;
  find(what: Find<D>): Promise<D[]>;
  /** @returns the number of removed documents */
  remove(query: Query<D>): Promise<number>;
  count(query?: Query<D>): Promise<number>;
  /** All documents in batches, without an order. Documents that are added or removed at the same time may be missing. */
  batches(size: number): AsyncIterable<D[]>;
  /** Whether the service has opened it. Its store may be unavailable nevertheless. */
  ready(): boolean;
  /** Whether the store was reachable last time. Does no I/O. */
  available(): boolean;
}

/** Makes a collection equal to its source in PostgreSQL. @returns the number of documents after it */
export type Rebuild = (progress?: (documents: number) => void) => Promise<number>;

export interface DocumentsOptions<D extends StoredDocument> extends StoreLocation {
  collection: string;
  /** The fields of each index, the most significant one first. */
  indexes?: readonly (readonly Direction<D>[])[];
  /** The field with the version number of a document. */
  version?: Field<D>;
  rebuild?: Rebuild;
}

/**
 * A collection of documents that belongs to one service. It is a projection, which can be rebuilt at any time. A new or
 * lost store is filled by `rebuild` in the background, while the service runs. The mixin adds no actions: clients must not
 * choose queries. Every method throws SERVICE_UNAVAILABLE while the collection is not open or its store is unavailable.
 */
export function documents<D extends StoredDocument>(options: DocumentsOptions<D>): Documents<D> {
  const { collection, indexes = [], version, rebuild } = options;
  let opened: Store | undefined;
  let filling: Runner | undefined;
  const store = () => {
    if (!opened) throw fail("SERVICE_UNAVAILABLE", `The collection ${collection} is not open.`);
    return opened;
  };
  return {
    collection,
    async insert(...documents) {
      await store().insert(documents.map(omitUndefined) as unknown as D[]);
    },
    async put(document) {
      await store().put(omitUndefined(document) as unknown as D, version);
    },
    async get(id) {
      return (await store().get(id)) as D | undefined;
    },
    async find({ query = {}, sort = [], limit = FIND_MAX }) {
      return (await store().find({ query, sort, limit: Math.min(limit, FIND_MAX) })) as D[];
    },
    remove: async (query) => store().remove(query),
    count: async (query = {}) => store().count(query),
    batches: (size) => store().batches(size) as AsyncIterable<D[]>,
    ready: () => opened !== undefined,
    available: () => opened?.available() === true,
    mixin: {
      ...background({
        async start({ logger }) {
          if (rebuild && opened?.isFilled) filling = startFilling(opened, rebuild, collection, logger);
        },
        async stop() {
          await filling?.stop();
          filling = undefined;
        },
      }),
      async started(this: Service) {
        const opening = await openStore({ ...options, indexes, logger: this.logger });
        await opening.connect();
        opened = opening;
        if (rebuild) rebuildsOf(this.broker).set(collection, rebuild);
      },
      async stopped(this: Service) {
        rebuildsOf(this.broker).delete(collection);
        const closing = opened;
        opened = undefined;
        await closing?.disconnect();
      },
    },
  };
}

/** The MongoDB driver is loaded only if it is used: it costs half a second and 20 MB. */
async function openStore({ mongoUrl, database, postgres, ...options }: StoreOptions): Promise<Store> {
  if (mongoUrl === undefined) {
    if (postgres === undefined)
      throw new Error(`the collection ${options.collection} has neither a MongoDB nor a PostgreSQL`);
    return postgresStore({ ...options, postgres });
  }
  if (database === undefined) throw new Error("a MongoDB needs the name of a database");
  const { mongoStore } = await import("./mongo-store.ts");
  return mongoStore({ ...options, mongoUrl, database });
}

/** Fills the collection once, and repeats that until it succeeds. A stop ends it between two batches. */
function startFilling(store: Store, rebuild: Rebuild, collection: string, logger: Logger): Runner {
  let isFilled = false;
  return startRunner({
    name: `filling ${collection}`,
    sweepMs: FILL_RETRY_MS,
    logger,
    async run(_cause, stopping) {
      try {
        isFilled ||= (await store.isFilled?.()) === true;
        if (isFilled) return;
        const documents = await rebuild(() => stopping.throwIfAborted());
        await store.markFilled?.();
        isFilled = true;
        logger.info(`${collection} was filled with ${documents} documents`);
      } catch (error) {
        // No error: the service stops, or the store is unavailable for a moment. The next sweep repeats it.
        if (!stopping.aborted && typeOf(error) !== "SERVICE_UNAVAILABLE") throw error;
      }
    },
  });
}

const rebuilds = new WeakMap<ServiceBroker, Map<string, Rebuild>>();

/** The rebuild functions of the open collections of this broker, by the names of the collections. */
export function rebuildsOf(broker: ServiceBroker): Map<string, Rebuild> {
  const known = rebuilds.get(broker) ?? new Map();
  rebuilds.set(broker, known);
  return known;
}
