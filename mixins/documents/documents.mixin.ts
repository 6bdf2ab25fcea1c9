import type { Service, ServiceBroker, ServiceSchema } from "moleculer";
import { fail, typeOf } from "../../contracts/errors.ts";
import type { Logger } from "../../lib/logger.ts";
import { type Runner, startRunner } from "../../lib/messaging/runner.ts";
import { omitUndefined } from "../../lib/omit-undefined.ts";
import { background } from "../background/background.mixin.ts";
import type { Direction, Field, Query, Store, StoredDocument, StoreOptions, StorePlace } from "./port.ts";
import { postgresStore } from "./postgres-store.ts";

export type { Query, StoredDocument, StorePlace } from "./port.ts";

const MAX_FOUND = 1_000;
/** How soon filling a collection is tried again. */
const FILL_RETRY_MS = 10_000;

export interface Find<D> {
  query?: Query<D>;
  /** First the most important. */
  sort?: readonly Direction<D>[];
  /** At most a thousand, which is also what its absence means. */
  limit?: number;
}

export interface Documents<D extends StoredDocument> {
  /** Goes into the service's `mixins`; opens the collection when the service starts, closes it when it stops. */
  readonly mixin: Partial<ServiceSchema>;
  readonly collection: string;
  /** Adds documents. One that is there already stays as it is: a message that comes twice changes nothing. */
  insert(...documents: readonly D[]): Promise<void>;
  /** Makes the document what is there under its id, unless a newer version is. */
  put(document: D): Promise<void>;
  get(id: string): Promise<D | undefined>;
  find(what: Find<D>): Promise<D[]>;
  /** @returns how many documents went */
  remove(query: Query<D>): Promise<number>;
  count(query?: Query<D>): Promise<number>;
  /** All documents in batches, in no order; those that come or go meanwhile may be among them or not. */
  batches(size: number): AsyncIterable<D[]>;
  /** Whether the service has opened it; what it is opened on may be away all the same. */
  ready(): boolean;
  /** Whether the store seems to be there. */
  available(): boolean;
}

/** Makes a collection what PostgreSQL says. @returns how many documents it has then */
export type Rebuild = (progress?: (documents: number) => void) => Promise<number>;

export interface DocumentsOptions<D extends StoredDocument> extends StorePlace {
  collection: string;
  /** The fields that queries look for; of one index, first the most important. */
  indexes?: readonly (readonly Direction<D>[])[];
  /** The field by whose number a document is newer than another one under its id. */
  version?: Field<D>;
  rebuild?: Rebuild;
}

/**
 * A collection of documents that belongs to one service: a projection, which can be made anew at any time. A store that
 * is new or was lost is filled by `rebuild` behind the running service, which does not wait for it. There are no
 * actions, since a query is nothing that a caller may choose. Every method throws SERVICE_UNAVAILABLE while the collection is not open or its store is away.
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
    async find({ query = {}, sort = [], limit = MAX_FOUND }) {
      return (await store().find({ query, sort, limit: Math.min(limit, MAX_FOUND) })) as D[];
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

/** Without MongoDB's address its driver is not even read: that costs half a second and 20 MB. */
async function openStore({ mongoUrl, database, postgres, ...options }: StoreOptions): Promise<Store> {
  if (mongoUrl === undefined) {
    if (postgres === undefined) throw new Error(`the collection ${options.collection} has no place`);
    return postgresStore({ ...options, postgres });
  }
  if (database === undefined) throw new Error("a MongoDB needs the name of a database");
  const { mongoStore } = await import("./mongo-store.ts");
  return mongoStore({ ...options, mongoUrl, database });
}

/** Fills the collection unless that was done once; tried again until it is. A stop ends it between two batches. */
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
        // Nothing is wrong when the service stops, or when the store has no connection to spare for a moment.
        if (!stopping.aborted && typeOf(error) !== "SERVICE_UNAVAILABLE") throw error;
      }
    },
  });
}

const rebuilds = new WeakMap<ServiceBroker, Map<string, Rebuild>>();

/** How the open collections of this broker's services are made anew, by their names. */
export function rebuildsOf(broker: ServiceBroker): Map<string, Rebuild> {
  const known = rebuilds.get(broker) ?? new Map();
  rebuilds.set(broker, known);
  return known;
}
