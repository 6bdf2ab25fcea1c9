import type { MessageType } from "../../contracts/messages.ts";
import { failpoint } from "../../lib/failpoint.ts";
import { idTimeMs, newId } from "../../lib/ids.ts";
import type { Logger } from "../../lib/logger.ts";
import { type Database, isConnectionTrouble } from "../../lib/sql/database.ts";
import { TimeoutError } from "../../lib/timeout.ts";
import {
  ARRIVED_AGAIN,
  type Delivery,
  HandlerFailure,
  performOnArrival,
  processInTransaction,
} from "./delivery.ts";
import type { Handler, Handlers } from "./handlers.ts";
import {
  type ArrivedMessage,
  acceptMessages,
  type Claimed,
  claimedOnArrival,
  type InboxRow,
} from "./inbox.repository.ts";
import type { Worker } from "./worker.ts";

const DEADLOCK_DETECTED = "40P01";

export interface ArrivalLimits {
  /** Time limit of a handler on arrival. The message bus waits for it, and so do the other messages of its batch. */
  arrivalMs: number;
  /** How long a statement waits for a lock on arrival. */
  arrivalLockMs: number;
  leaseMs: number;
}

export interface ArrivalOptions {
  db: () => Database;
  group: string;
  handlers: Handlers;
  workerOf: ReadonlyMap<string, Worker>;
  limits: ArrivalLimits;
  logger: Logger;
  /** Messages that are older may have ended the process before its start. */
  startedMs: number;
}

/**
 * Stores messages in the inbox. Where it is safe, they are handled at the same time: effects in the database in the
 * transaction that stores the messages as done, idempotent effects outside before it. This costs one statement for a batch
 * instead of one to store it and one for each message.
 *
 * Everything else goes to the workers, which count deliveries under a lease: external effects, messages that may have ended
 * a process before (delivered again, or older than this process), messages behind a backlog, and all messages of a
 * transaction that failed. See docs/adr/0053-messages-handled-on-arrival.md.
 */
export function arrival({ db, group, handlers, workerOf, limits, logger, startedMs }: ArrivalOptions) {
  const handlerOf = (type: string) => handlers[type as MessageType] as Handler;
  const isInTransaction = ({ type }: InboxRow) => handlerOf(type).inTransaction !== undefined;
  const isSimple = (message: InboxRow) =>
    isInTransaction(message) || handlerOf(message.type).idempotent === true;
  const deliveryOf = (message: InboxRow, token: string): Delivery => ({
    ...{ group, messageId: message.id, token, claimed: claimedOnArrival(message) },
    ...{ abort: new AbortController(), ending: true },
  });

  /** Stores messages and handles `inTransaction`, all in one transaction. @returns the ids of the new ones */
  const storeHandled = async (
    arrived: readonly ArrivedMessage[],
    inTransaction: readonly InboxRow[],
    lease: { token: string; leaseMs: number },
  ) => {
    if (inTransaction.length === 0) return await acceptMessages(db(), group, arrived, lease);
    const accepted = await db().transaction(
      async (trx) => {
        const fresh = await acceptMessages(trx, group, arrived, lease);
        const deliveries = inTransaction
          .filter(({ id }) => fresh.has(id))
          .map((message) => deliveryOf(message, lease.token));
        await processInTransaction(
          trx,
          ({ claimed }) => handlerOf(claimed.type),
          deliveries,
          limits.arrivalMs,
        );
        return fresh;
      },
      { lockTimeoutMs: limits.arrivalLockMs },
    );
    failpoint("consumer.committed");
    return accepted;
  };

  /** @returns the types of new messages that wait without a claim */
  return async (parsed: readonly InboxRow[], redelivered: boolean): Promise<ReadonlySet<string>> => {
    const lease = { token: newId(), leaseMs: limits.leaseMs };
    const reservations = new Map<Worker, InboxRow[]>();
    const reserved = new Set<InboxRow>();
    for (const message of parsed) {
      const worker = message.state === "waiting" ? workerOf.get(message.type) : undefined;
      if (!worker?.reserve(message.type)) continue;
      reserved.add(message);
      reservations.set(worker, [...(reservations.get(worker) ?? []), message]);
    }
    const fresh = redelivered ? [] : [...reserved].filter(({ id }) => idTimeMs(id) >= startedMs);
    const mayHaveEndedProcess = (message: InboxRow) =>
      message.state === "waiting" && isSimple(message) && (redelivered || idTimeMs(message.id) < startedMs);
    const done = new Set<InboxRow>();
    const failures = new Map<string, Claimed["failure"]>();
    let accepted: ReadonlySet<string> = new Set();
    const toStore = () =>
      parsed.map((message): ArrivedMessage => {
        if (done.has(message)) return { ...message, done: true };
        const stored = mayHaveEndedProcess(message) ? { ...message, error: ARRIVED_AGAIN } : message;
        return reserved.has(message) ? { ...stored, claim: true } : stored;
      });

    const performIdempotent = async (message: InboxRow) => {
      try {
        await performOnArrival(
          handlerOf(message.type),
          deliveryOf(message, lease.token),
          limits.arrivalMs,
          logger,
        );
        done.add(message);
      } catch (error) {
        if (counts(error)) failures.set(message.id, { error });
      }
    };
    const storeAll = async () => {
      const inTransaction = fresh.filter(isInTransaction);
      for (const message of inTransaction) done.add(message);
      try {
        return await storeHandled(toStore(), inTransaction, lease);
      } catch (error) {
        if (inTransaction.length === 0) throw error;
        for (const message of inTransaction) done.delete(message);
        if (error instanceof HandlerFailure && counts(error.cause)) {
          failures.set(error.messageId, { error: error.cause });
        }
        logger.debug(`${inTransaction.length} messages are delivered again one by one:`, String(error));
        return await acceptMessages(db(), group, toStore(), lease);
      }
    };
    try {
      await Promise.all(fresh.filter(({ type }) => handlerOf(type).idempotent).map(performIdempotent));
      accepted = await storeAll();
    } finally {
      for (const [worker, messages] of reservations) {
        const mine = messages
          .filter((message) => accepted.has(message.id) && !done.has(message))
          .map((message): Claimed => {
            const failure = failures.get(message.id);
            const error = mayHaveEndedProcess(message) && { error: ARRIVED_AGAIN };
            return { ...claimedOnArrival(message), ...error, ...(failure && { failure }) };
          });
        worker.take(mine, lease.token, messages.length);
      }
    }
    const waiting = parsed.filter((message) => accepted.has(message.id) && !reserved.has(message));
    return new Set(waiting.map(({ type }) => type));
  };
}

/** Whether a failure counts as a delivery. Locks and short limits on arrival say nothing about the message. */
function counts(error: unknown): boolean {
  const { code } = (error ?? {}) as { code?: string };
  return !(error instanceof TimeoutError) && !isConnectionTrouble(error) && code !== DEADLOCK_DETECTED;
}
