import type { Logger } from "../../lib/logger.ts";

export interface StoredDocument {
  readonly _id: string;
}

export type Field<D> = keyof D & string;
/** A field to sort or to index by; a minus in front means downwards. */
export type Direction<D> = Field<D> | `-${Field<D>}`;

type Comparison<V> = { $in?: V[]; $lt?: V; $lte?: V; $gt?: V; $gte?: V; $ne?: V };
/** A condition that PostgreSQL and MongoDB evaluate alike; only our code writes it, never a client. */
export type Query<D> = { readonly [K in keyof D]?: D[K] | Comparison<D[K]> };

/** The fields of one index, first the most important, as in `["orderId", "-version"]`. */
export type Index = readonly string[];

export interface Search {
  query: object;
  sort: readonly string[];
  limit: number;
}

/**
 * One collection of a document store. Two adapters keep this promise, which test/support/documents-contract.ts
 * spells out: PostgreSQL's jsonb where nothing else is set, MongoDB in a cluster. Whatever is not there for a while makes every method throw
 * SERVICE_UNAVAILABLE, within the time that a request has.
 */
export interface Store {
  connect(): Promise<void>;
  disconnect(): Promise<void>;
  /** Whether it seems to be there. Costs nothing: asked before each batch of work. */
  available(): boolean;
  /** Adds those whose ids are not known yet, and leaves the others as they are. */
  insert(documents: readonly StoredDocument[]): Promise<void>;
  /**
   * Makes the document what is there under its id, in one atomic step. With `version`, the name of a field: unless
   * the one that is there has a higher number in it.
   */
  put(document: StoredDocument, version?: string): Promise<void>;
  get(id: string): Promise<object | undefined>;
  find(search: Search): Promise<object[]>;
  count(query: object): Promise<number>;
  /** @returns how many went */
  remove(query: object): Promise<number>;
  /** All documents in batches, in no order; those that come or go meanwhile may be among them or not. */
  batches(size: number): AsyncIterable<object[]>;
  /** Whether the collection was filled once from what it projects; absent where an operator sees to that. */
  isFilled?(): Promise<boolean>;
  markFilled?(): Promise<void>;
}

/** Where a store's collections are: in MongoDB when its URL is set, else in PostgreSQL. */
export interface StorePlace {
  mongoUrl?: string | undefined;
  /** The name of the database in MongoDB. */
  database?: string;
  /** The database whose schema `documents` has the collections. */
  postgres?: { url: string; acquireTimeoutMs: number };
}

export interface StoreOptions extends StorePlace {
  collection: string;
  indexes: readonly Index[];
  logger: Logger;
}
