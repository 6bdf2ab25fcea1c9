import type { Service, ServiceBroker, ServiceSchema } from "moleculer";
import { fail } from "../../contracts/errors.ts";
import { fileStore } from "./file-store.ts";

const MAX_FOUND = 1_000;

export interface StoredDocument {
  readonly _id: string;
}

type Comparison<V> = { $in?: V[]; $lt?: V; $lte?: V; $gt?: V; $gte?: V; $ne?: V };
/** What the file-backed store and MongoDB understand alike; written by our code only, never by a client. */
export type Query<D> = { readonly [K in keyof D]?: D[K] | Comparison<D[K]> };
type Field<D> = keyof D & string;

export interface Find<D> {
  query?: Query<D>;
  /** Field names, first the most important; a minus in front sorts downwards. */
  sort?: readonly (Field<D> | `-${Field<D>}`)[];
  /** At most a thousand, which is also what its absence means. */
  limit?: number;
}

export interface Documents<D extends StoredDocument> {
  /** Goes into the service's `mixins`; opens the collection when the service starts, closes it when it stops. */
  readonly mixin: Partial<ServiceSchema>;
  /** Adds a document. One that is there already stays as it is: a message that comes twice changes nothing. */
  insert(document: D): Promise<void>;
  /** Adds a document, or sets these fields on the one that has its `_id`. */
  put(document: D): Promise<void>;
  get(id: string): Promise<D | undefined>;
  find(what: Find<D>): Promise<D[]>;
  /** @returns how many documents went */
  remove(query: Query<D>): Promise<number>;
  /** Empties the collection, before it is filled anew from PostgreSQL. */
  clear(): Promise<void>;
  count(query?: Query<D>): Promise<number>;
  ready(): boolean;
}

export interface DocumentsOptions<D> {
  collection: string;
  /** Folder of the collection's file; absent: kept in memory only, for tests. */
  dir?: string;
  /** The fields that queries look for. */
  indexes?: readonly Field<D>[];
  /** Fills the emptied collection anew from PostgreSQL and returns how many documents it wrote. */
  rebuild?: () => Promise<number>;
}

/** What of moleculer-db's adapters is used here; the one for MongoDB has the same methods. */
export interface Store {
  init(broker: unknown, service: unknown): void;
  connect(): Promise<unknown>;
  disconnect(): Promise<unknown>;
  insert(document: object): Promise<unknown>;
  updateById(id: string, update: object): Promise<unknown>;
  findById(id: string): Promise<object | null>;
  find(what: { query: object; sort: readonly string[]; limit: number }): Promise<object[]>;
  count(what: { query: object }): Promise<number>;
  removeMany(query: object): Promise<unknown>;
}

/**
 * A collection of documents that belongs to one service: a projection, which can be made anew at any time. It
 * works on moleculer-db's adapters without moleculer-db's actions, since those take queries from their callers.
 * Every method throws SERVICE_UNAVAILABLE while the collection is not open.
 */
export function documents<D extends StoredDocument>(options: DocumentsOptions<D>): Documents<D> {
  let opened: Store | undefined;
  const store = () => {
    if (!opened) throw fail("SERVICE_UNAVAILABLE", `The collection ${options.collection} is not open.`);
    return opened;
  };
  const insertNew = async (document: D) => {
    try {
      await store().insert(document);
      return true;
    } catch (error) {
      if (isDuplicate(error)) return false;
      throw error;
    }
  };
  return {
    async insert(document) {
      await insertNew(document);
    },
    async put(document) {
      if (await insertNew(document)) return;
      const { _id, ...fields } = document;
      await store().updateById(_id, { $set: fields });
    },
    async get(id) {
      return ((await store().findById(id)) ?? undefined) as D | undefined;
    },
    async find({ query = {}, sort = [], limit = MAX_FOUND }) {
      return (await store().find({ query, sort, limit: Math.min(limit, MAX_FOUND) })) as D[];
    },
    async remove(query) {
      return (await store().removeMany(query)) as number;
    },
    async clear() {
      await store().removeMany({});
    },
    async count(query = {}) {
      return await store().count({ query });
    },
    ready: () => opened !== undefined,
    mixin: {
      async started(this: Service) {
        const opening = fileStore(options.collection, options.dir, options.indexes ?? []);
        opening.init(this.broker, this);
        await opening.connect();
        opened = opening;
        if (options.rebuild) rebuildsOf(this.broker).set(options.collection, options.rebuild);
      },
      async stopped(this: Service) {
        rebuildsOf(this.broker).delete(options.collection);
        const closing = opened;
        opened = undefined;
        await closing?.disconnect();
      },
    },
  };
}

const rebuilds = new WeakMap<ServiceBroker, Map<string, () => Promise<number>>>();

/** How the open collections of this broker's services are made anew, by their names. */
export function rebuildsOf(broker: ServiceBroker): Map<string, () => Promise<number>> {
  const known = rebuilds.get(broker) ?? new Map();
  rebuilds.set(broker, known);
  return known;
}

const MONGO_DUPLICATE_KEY = 11_000;

function isDuplicate(error: unknown): boolean {
  const { errorType, code } = (error ?? {}) as { errorType?: string; code?: number };
  return errorType === "uniqueViolated" || code === MONGO_DUPLICATE_KEY;
}
