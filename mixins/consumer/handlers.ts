import type { Knex } from "knex";
import type { Message, MessageType } from "../../contracts/messages.ts";

/** The right to work on one message, renewed for as long as the work runs. */
export interface Lease {
  /** Aborted when the lease is lost or the work takes too long: then nothing of it may be committed. */
  readonly signal: AbortSignal;
  /** 1 for the first delivery. */
  readonly attempt: number;
  /** Whether the message is dead if this try fails too. */
  readonly last: boolean;
}

/** Something that may be away for hours without harm, as the store of a projection. */
export interface Dependency {
  /** Whether it seems to be there; costs nothing. */
  available(): boolean;
}

export type Commit = (trx: Knex.Transaction) => Promise<void>;

/** How a message came to its handler. */
export interface Delivered {
  /** It was a dead letter, and an operator had it delivered again: what it tells may be long past. */
  readonly replayed: boolean;
}

interface Common<T extends MessageType> {
  /**
   * What the effect cannot do without, and what nobody waits for: while it is away, messages are not even claimed,
   * and a delivery that finds it away (SERVICE_UNAVAILABLE) does not count. Such a message never dies of an outage,
   * but of its own failures.
   */
  readonly needs?: Dependency;
  /**
   * A group of workers of its own, by its name: what waits for something outside that strangers may slow down never holds
   * the places of what must go out at once. Default: the group of all that name none.
   */
  readonly workers?: string;
  /** The waits between deliveries in milliseconds; there is one delivery more than there are waits. */
  readonly schedule?: readonly number[];
  /** Committed together with the message's death, after its last delivery has failed. */
  readonly dead?: (trx: Knex.Transaction, message: Message<T>, error: string) => Promise<void>;
}

/** An effect in the database alone: it and the message's state are one transaction, so it happens once. */
interface InTransactionHandler<T extends MessageType> extends Common<T> {
  inTransaction(trx: Knex.Transaction, message: Message<T>, delivery: Delivered): Promise<void>;
  /**
   * Under load, up to 32 such messages share one transaction; when one of them fails, each is repeated in one
   * of its own. For effects that lock nothing which others lock in another order: inserts, and rows that belong
   * to the message's subject alone. It spares three of four statements a message.
   */
  readonly batch?: true;
  external?: never;
}

/**
 * An effect outside (HTTP, push, a document): it runs without a transaction, under a lease. What it returns, if
 * anything, is committed with the message's state, and only while the lease is held; it writes to the database alone,
 * since it runs again when the connection broke. The outside may see the work more than once, with the same message
 * id.
 */
interface ExternalHandler<T extends MessageType> extends Common<T> {
  external(message: Message<T>, lease: Lease): Promise<Commit | undefined>;
  inTransaction?: never;
  batch?: never;
}

export type Handler<T extends MessageType = MessageType> = InTransactionHandler<T> | ExternalHandler<T>;

/** Who handles what. Order is not promised: handlers compare versions and ignore what is older than they know. */
export type Handlers = { readonly [T in MessageType]?: Handler<T> };

/** What a handler may throw to say more than that it failed. */
export interface HandlerError extends Error {
  /** Further tries would fail alike: the message is dead at once. */
  permanent?: boolean;
  /** Not before so many milliseconds from now, when that is later than the schedule says. */
  retryAfterMs?: number;
}
