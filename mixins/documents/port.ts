import type { Logger } from "../../lib/logger.ts";

export interface StoredDocument {
  readonly _id: string;
}

export type Field<D> = keyof D & string;
/** A field to sort or index by. A leading minus means descending. */
export type Direction<D> = Field<D> | `-${Field<D>}`;

type Comparison<V> = { $in?: V[]; $lt?: V; $lte?: V; $gt?: V; $gte?: V; $ne?: V };
/** A condition with the same result in PostgreSQL and MongoDB. Only our code builds it, never a client. */
export type Query<D> = { readonly [K in keyof D]?: D[K] | Comparison<D[K]> };

/** The fields of one index, the most significant one first: `["orderId", "-version"]`. */
export type Index = readonly string[];

export interface Search {
  query: object;
  sort: readonly string[];
  limit: number;
}

/**
 * One collection of a document store. It has two adapters: jsonb in PostgreSQL (the default) and MongoDB (in a cluster).
 * test/support/documents-contract.ts tests both. Every method throws SERVICE_UNAVAILABLE while the store is unavailable,
 * within the time that a request has.
 */
export interface Store {
  connect(): Promise<void>;
  disconnect(): Promise<void>;
  /** Whether it was reachable last time. Does no I/O, since workers call it before each batch. */
  available(): boolean;
  /** Adds the documents with new ids. Does not change existing ones. */
  insert(documents: readonly StoredDocument[]): Promise<void>;
  /**
   * Inserts the document or replaces the one with its id, in one atomic step.
   * @param version the name of a field with a number: a stored document with a higher number is not replaced
   */
  put(document: StoredDocument, version?: string): Promise<void>;
  get(id: string): Promise<object | undefined>;
  find(search: Search): Promise<object[]>;
  count(query: object): Promise<number>;
  /** @returns the number of removed documents */
  remove(query: object): Promise<number>;
  /** All documents in batches, without an order. Documents that are added or removed at the same time may be missing. */
  batches(size: number): AsyncIterable<object[]>;
  /** Whether the collection was filled once. Absent for a store that an operator fills by `rebuild`. */
  isFilled?(): Promise<boolean>;
  markFilled?(): Promise<void>;
}

/** The database of the collections: MongoDB if its URL is set, else PostgreSQL. */
export interface StoreLocation {
  mongoUrl?: string | undefined;
  /** The name of the database in MongoDB. */
  database?: string;
  /** The collections are in the schema `documents` of this database. */
  postgres?: { url: string; acquireTimeoutMs: number; requestTimeoutMs?: number };
}

export interface StoreOptions extends StoreLocation {
  collection: string;
  indexes: readonly Index[];
  logger: Logger;
}
