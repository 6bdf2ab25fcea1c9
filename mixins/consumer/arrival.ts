import type { MessageType } from "../../contracts/messages.ts";
import { failpoint } from "../../lib/failpoint.ts";
import { idTimeMs, newId } from "../../lib/ids.ts";
import type { Logger } from "../../lib/logger.ts";
import { type Database, isConnectionTrouble } from "../../lib/sql/database.ts";
import { TimeoutError } from "../../lib/timeout.ts";
import {
  ARRIVED_AGAIN,
  BATCH_MAX,
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
    const untilMs = performance.now() + limits.arrivalMs;
    const lease = { token: newId(), leaseMs: limits.leaseMs };
    const reservations = new Map<Worker, InboxRow[]>();
    const reserved = new Set<InboxRow>();
    const done = new Set<InboxRow>();
    const failures = new Map<string, Claimed["failure"]>();
    const accepted = new Set<string>();
    const isWaiting = ({ state }: InboxRow) => state === "waiting";
    const isFresh = ({ id }: InboxRow) => !redelivered && idTimeMs(id) >= startedMs;
    const mayHaveEndedProcess = (message: InboxRow) =>
      isWaiting(message) && isSimple(message) && !isFresh(message);

    const reserve = (message: InboxRow) => {
      const worker = workerOf.get(message.type);
      if (!worker?.reserve(message.type)) return;
      reserved.add(message);
      reservations.set(worker, [...(reservations.get(worker) ?? []), message]);
    };
    const store = async (messages: readonly InboxRow[], inTransaction: readonly InboxRow[] = []) => {
      const toStore = messages.map((message): ArrivedMessage => {
        if (done.has(message) || inTransaction.includes(message)) return { ...message, done: true };
        const stored = mayHaveEndedProcess(message) ? { ...message, error: ARRIVED_AGAIN } : message;
        return reserved.has(message) ? { ...stored, claim: true } : stored;
      });
      for (const id of await storeHandled(toStore, inTransaction, lease)) accepted.add(id);
      for (const message of inTransaction) done.add(message);
    };
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
    /** Stores messages and handles some of them; after a failure it stores these for the workers. */
    const storeAndHandle = async (messages: readonly InboxRow[], inTransaction: readonly InboxRow[]) => {
      try {
        await store(messages, inTransaction);
      } catch (error) {
        if (inTransaction.length === 0) throw error;
        if (error instanceof HandlerFailure && counts(error.cause)) {
          failures.set(error.messageId, { error: error.cause });
        }
        logger.debug(`${inTransaction.length} messages are delivered again one by one:`, String(error));
        inTransaction.forEach(reserve);
        await store(messages);
      }
    };

    const direct = parsed.filter(
      (message) => isWaiting(message) && isFresh(message) && isInTransaction(message),
    );
    const others = parsed.filter((message) => !direct.includes(message));
    others.filter(isWaiting).forEach(reserve);
    try {
      const idempotent = others.filter(
        (message) => reserved.has(message) && isFresh(message) && handlerOf(message.type).idempotent,
      );
      await Promise.all(idempotent.map(performIdempotent));
      await storeAndHandle([...others, ...direct.slice(0, BATCH_MAX)], direct.slice(0, BATCH_MAX));
      for (let at = BATCH_MAX; at < direct.length; at += BATCH_MAX) {
        const isInTime = performance.now() < untilMs;
        const batch = isInTime ? direct.slice(at, at + BATCH_MAX) : direct.slice(at);
        if (!isInTime) batch.forEach(reserve);
        await storeAndHandle(batch, isInTime ? batch : []);
        if (!isInTime) break;
      }
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
    const waiting = parsed.filter(
      (message) => accepted.has(message.id) && !reserved.has(message) && !done.has(message),
    );
    return new Set(waiting.map(({ type }) => type));
  };
}

/** Whether a failure counts as a delivery. Locks and short limits on arrival say nothing about the message. */
function counts(error: unknown): boolean {
  const { code } = (error ?? {}) as { code?: string };
  return !(error instanceof TimeoutError) && !isConnectionTrouble(error) && code !== DEADLOCK_DETECTED;
}
