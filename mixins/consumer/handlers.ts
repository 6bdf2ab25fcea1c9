import type { Message, MessageType } from "../../contracts/messages.ts";
import type { Logger } from "../../lib/logger.ts";
import type { Transaction } from "../../lib/sql/database.ts";

/** The exclusive right to handle one message. It is renewed while the handler runs. */
export interface Lease {
  /** Aborted when the lease is lost or the handler takes too long. Nothing may be committed after that. */
  readonly signal: AbortSignal;
  /** 1 for the first delivery. */
  readonly attempt: number;
  /** Whether the message becomes a dead letter if this delivery fails. */
  readonly last: boolean;
  /** The log of the service. */
  readonly logger: Logger;
}

/** A dependency that may be unavailable for hours without harm, for example the store of a projection. */
export interface Dependency {
  /** Whether it was reachable last time. Does no I/O. */
  available(): boolean;
}

export type Commit = (trx: Transaction) => Promise<void>;

/** The circumstances of a delivery. */
export interface Delivered {
  /** An operator has requeued it from the dead letters, so its content may be outdated. */
  readonly replayed: boolean;
}

interface Common<T extends MessageType> {
  /**
   * A dependency of the effect. While it is unavailable, messages are not claimed, and a delivery that ends with
   * SERVICE_UNAVAILABLE is not counted. So an outage never makes a message a dead letter; its own failures do.
   */
  readonly needs?: Dependency;
  /** Delivers also while `needs` is unavailable, because a part of the effect does not need it. */
  readonly duringOutage?: true;
  /**
   * The name of a separate group of workers. Calls to servers that third parties may slow down then never take the
   * concurrency of urgent messages. Default: one group for all handlers without a name.
   */
  readonly workers?: string;
  /** The delays between deliveries, in milliseconds: n delays mean n + 1 deliveries. Default: the consumer's limits. */
  readonly schedule?: readonly number[];
  /** Runs in the transaction that makes the message a dead letter, after its last delivery has failed. */
  readonly dead?: (trx: Transaction, message: Message<T>, error: string) => Promise<void>;
}

/** An effect in the database only. It and the state of the message are one transaction, so it happens exactly once. */
interface InTransactionHandler<T extends MessageType> extends Common<T> {
  inTransaction(trx: Transaction, message: Message<T>, delivery: Delivered): Promise<void>;
  /**
   * Under load, up to 32 such messages share one transaction. When one of them fails, each is delivered again in a
   * transaction of its own. Only for effects that cannot deadlock with others: inserts, and updates of rows that belong
   * to the subject of the message. It saves three of four statements for each message.
   *
   * `true` calls `inTransaction` for one message after the other. A function handles all messages of the type together, in
   * fewer statements; it gets messages on their first delivery only.
   */
  readonly batch?: true | ((trx: Transaction, messages: readonly Message<T>[]) => Promise<void>);
  external?: never;
  idempotent?: never;
}

/**
 * An effect outside the database (HTTP, push, a document). It runs without a transaction, under a lease. The function
 * that it returns, if any, runs in the transaction that marks the message as done, and only while the lease is held. That
 * function may only write to the database, since it is repeated after a lost connection. External systems may see the
 * effect more than once, with the same message id.
 */
interface ExternalHandler<T extends MessageType> extends Common<T> {
  external(message: Message<T>, lease: Lease): Promise<Commit | undefined>;
  /**
   * The effect is quick, ends without a commit function, and is the same when it is repeated at any time: then it may be
   * made when the message arrives, before the message is stored.
   */
  readonly idempotent?: true;
  inTransaction?: never;
  batch?: never;
}

export type Handler<T extends MessageType = MessageType> = InTransactionHandler<T> | ExternalHandler<T>;

/** The handler of each message type. Order is not guaranteed: handlers compare versions and ignore older messages. */
export type Handlers = { readonly [T in MessageType]?: Handler<T> };

/** An error by which a handler controls the next delivery. */
export interface HandlerError extends Error {
  /** Further deliveries would fail too: the message becomes a dead letter at once. */
  permanent?: boolean;
  /** The minimum delay of the next delivery, in milliseconds. The longer one of this and the schedule counts. */
  retryAfterMs?: number;
}
