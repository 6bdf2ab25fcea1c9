import { setTimeout as delay } from "node:timers/promises";
import { typeOf } from "../../contracts/errors.ts";
import type { Message } from "../../contracts/messages.ts";
import { type Backoff, backoffMs, jittered } from "../../lib/backoff.ts";
import { failpoint } from "../../lib/failpoint.ts";
import { newId } from "../../lib/ids.ts";
import type { Logger } from "../../lib/logger.ts";
import { type Db, isConnectionTrouble, reasonOf, type Transaction } from "../../lib/sql/database.ts";
import { shorten } from "../../lib/text.ts";
import { withTimeout } from "../../lib/timeout.ts";
import { inTraceOf } from "../../lib/tracing/index.ts";
import type { Commit, Handler, HandlerError } from "./handlers.ts";
import { type Claimed, type Fence, markAllDone, markDead, markDone, reschedule } from "./inbox.repository.ts";

const ERROR_LENGTH = 2_000;
/** The error of a waiting message that was delivered on an earlier arrival, if that ended the process. */
export const ARRIVED_AGAIN = "the process may have ended when it arrived before";
const SCHEDULE_JITTER = 0.2;
/** How often the handler's `dead` may fail before the message becomes a dead letter without it. */
const DEAD_HANDLER_TRIES = 5;
const NOT_ENTERED_DELAY_MS = 500;
/** The delay after a delivery whose dependency was unavailable. The message is not claimed before that is available. */
const DEPENDENCY_UNAVAILABLE_DELAY_MS = 5_000;
const DEPENDENCY_UNAVAILABLE_JITTER = 0.8;
const COMMIT_RETRY_MAX_MS = 5_000;
const COMMIT_RETRY_MS = 200;

export interface DeliveryLimits {
  /** The maximum number of deliveries of a message whose handler has no schedule. */
  deliveries: number;
  backoff: Backoff;
  /** Time limit of one delivery. */
  deliveryMs: number;
}

/** The delivery of a claimed message to its handler. */
export interface Delivery extends Fence {
  readonly claimed: Claimed;
  readonly abort: AbortController;
  /** Its result is being written: the transaction locks the row first, so the lease is not renewed meanwhile. */
  ending: boolean;
}

/** The maximum number of messages with a `batch` handler in one transaction. */
export const BATCH_MAX = 32;

class LeaseLost extends Error {}

/**
 * Delivers one message to its handler and stores the result. Rejects only when the result could not be stored: then the
 * lease expires and the message is delivered again.
 */
export async function deliver(
  db: Db,
  handler: Handler,
  delivery: Delivery,
  limits: DeliveryLimits,
  logger: Logger,
): Promise<void> {
  const { claimed } = delivery;
  const deliveries = handler.schedule ? handler.schedule.length + 1 : limits.deliveries;
  // The process ended during each of these deliveries. Another message may be the cause, so a suspect gets at least the
  // default number of deliveries, also where the schedule of its handler is shorter.
  const maxAttempts = claimed.suspect ? Math.max(deliveries, limits.deliveries) : deliveries;
  // Its delivery on arrival, which could not be counted, ended the process as well.
  const uncounted = claimed.suspect && claimed.error === ARRIVED_AGAIN ? 1 : 0;
  if (claimed.attempts + uncounted > maxAttempts) {
    const error = uncounted ? undefined : claimed.error;
    await deadLetter(db, handler, delivery, maxAttempts, error ?? "the process ended during its delivery");
    return;
  }
  const entered = { value: false };
  try {
    if (claimed.failure) {
      entered.value = true;
      throw claimed.failure.error;
    }
    await traced("process", delivery, () =>
      handle(db, handler, delivery, { deliveries, deliveryMs: limits.deliveryMs, entered, logger }),
    );
    failpoint("consumer.committed");
  } catch (error) {
    if (error instanceof LeaseLost) {
      logger.warn(`${claimed.type} ${claimed.messageId}: the lease was lost, its effect was rolled back`);
      return;
    }
    if (!entered.value) {
      await reschedule(db, delivery, NOT_ENTERED_DELAY_MS, 0);
      return;
    }
    const failure = describe(error);
    if (handler.needs && isUnavailable(error)) {
      logger.debug(`${claimed.type} ${claimed.messageId} waits for a dependency:`, failure.text);
      await reschedule(
        db,
        delivery,
        jittered(DEPENDENCY_UNAVAILABLE_DELAY_MS, DEPENDENCY_UNAVAILABLE_JITTER),
        0,
        failure.text,
      );
      return;
    }
    if (claimed.attempts >= deliveries || failure.permanent) {
      logger.error(
        `${claimed.type} ${claimed.messageId} becomes a dead letter after ${claimed.attempts} deliveries:`,
        failure.text,
      );
      await deadLetter(db, handler, delivery, claimed.attempts, failure.text);
      return;
    }
    logger.warn(`${claimed.type} ${claimed.messageId} failed, delivery ${claimed.attempts}:`, failure.text);
    const scheduled = handler.schedule?.[claimed.attempts - 1];
    const delayMs =
      scheduled === undefined
        ? backoffMs(limits.backoff, claimed.attempts)
        : jittered(scheduled, SCHEDULE_JITTER);
    await reschedule(db, delivery, Math.max(delayMs, failure.retryAfterMs), 1, failure.text);
  }
}

/** Whether a message may share a transaction: its handler is a `batch` handler, and no earlier delivery failed. */
export function canBatch(handler: Handler | undefined, { claimed }: Delivery): boolean {
  return handler?.batch !== undefined && claimed.attempts === 1 && !claimed.suspect;
}

/**
 * Delivers messages to their handlers in one transaction. @throws the error of the first handler that fails; nothing is
 * committed then, and the caller delivers each message separately
 */
export async function deliverBatch(
  db: Db,
  handlerOf: (delivery: Delivery) => Handler,
  deliveries: readonly Delivery[],
  deliveryMs: number,
): Promise<void> {
  for (const delivery of deliveries) delivery.ending = true;
  try {
    await db.transaction(async (trx) => {
      const done = await markAllDone(trx, deliveries);
      const held = deliveries.filter(({ messageId }) => done.has(messageId));
      await processInTransaction(trx, handlerOf, held, deliveryMs);
    });
    failpoint("consumer.committed");
  } finally {
    for (const delivery of deliveries) delivery.ending = false;
  }
}

/** A handler failed in a transaction with other messages. */
export class HandlerFailure extends Error {
  readonly messageId: string;

  constructor(messageId: string, cause: unknown) {
    super(reasonOf(cause), { cause });
    this.messageId = messageId;
  }
}

/**
 * Runs the handlers of messages: those of one type together if their handler can, else one after the other.
 * @throws the error of the first that fails; HandlerFailure if it is known which message failed
 */
export async function processInTransaction(
  trx: Transaction,
  handlerOf: (delivery: Delivery) => Handler,
  deliveries: readonly Delivery[],
  deliveryMs: number,
): Promise<void> {
  for (const ofType of Map.groupBy(deliveries, ({ claimed }) => claimed.type).values()) {
    const [first] = ofType as [Delivery];
    const { inTransaction, batch } = handlerOf(first);
    if (typeof batch === "function" && ofType.length > 1) {
      const messages = ofType.map(({ claimed }) => messageOf(claimed));
      await traced(
        "process",
        first,
        () => withTimeout(deliveryMs, () => batch(trx, messages), first.abort.signal),
        ofType,
      );
    } else if (inTransaction) {
      await processSingly(trx, inTransaction, ofType, deliveryMs);
    }
  }
  failpoint("consumer.applied");
}

/** @throws HandlerFailure */
async function processSingly(
  trx: Transaction,
  inTransaction: NonNullable<Handler["inTransaction"]>,
  deliveries: readonly Delivery[],
  deliveryMs: number,
): Promise<void> {
  for (const delivery of deliveries) {
    const { claimed, abort } = delivery;
    try {
      await traced("process", delivery, () =>
        withTimeout(deliveryMs, () => inTransaction(trx, messageOf(claimed), claimed), abort.signal),
      );
    } catch (error) {
      throw new HandlerFailure(delivery.messageId, error);
    }
  }
}

/** Runs an idempotent external handler before its message is stored. */
export async function performOnArrival(
  handler: Handler,
  delivery: Delivery,
  deliveryMs: number,
  logger: Logger,
): Promise<void> {
  const { claimed, abort } = delivery;
  const lease = { signal: abort.signal, attempt: 1, last: false, logger };
  await traced("process", delivery, () =>
    withTimeout(deliveryMs, async () => handler.external?.(messageOf(claimed), lease)),
  );
  failpoint("consumer.performed");
}

interface Handling {
  /** After so many deliveries the message is dead. */
  deliveries: number;
  deliveryMs: number;
  /** Becomes true when the handler is called. */
  entered: { value: boolean };
  logger: Logger;
}

/** Commits the handler's effect and the state of the message in one transaction. */
async function handle(
  db: Db,
  handler: Handler,
  delivery: Delivery,
  { deliveries, deliveryMs, entered, logger }: Handling,
): Promise<void> {
  const message = messageOf(delivery.claimed);
  const { signal } = delivery.abort;
  if (handler.inTransaction) {
    delivery.ending = true;
    await db.transaction(async (trx) => {
      if (!(await markDone(trx, delivery))) throw new LeaseLost();
      entered.value = true;
      await withTimeout(deliveryMs, () => handler.inTransaction(trx, message, delivery.claimed), signal);
      failpoint("consumer.applied");
    });
    return;
  }
  entered.value = true;
  const attempt = delivery.claimed.attempts;
  const last = attempt >= deliveries;
  const work = (leaseSignal: AbortSignal) =>
    handler.external(message, { signal: leaseSignal, attempt, last, logger });
  const commit = await withTimeout(deliveryMs, work, signal);
  failpoint("consumer.performed");
  await commitWithRetry(db, delivery, commit);
}

/** The external call was made. A short outage of the database must not repeat it, so the commit is retried. */
async function commitWithRetry(db: Db, delivery: Delivery, commit: Commit | undefined): Promise<void> {
  const deadline = Date.now() + COMMIT_RETRY_MAX_MS;
  for (;;) {
    delivery.ending = true;
    try {
      if (!commit) {
        if (!(await markDone(db, delivery))) throw new LeaseLost();
        return;
      }
      return await db.transaction(async (trx) => {
        if (!(await markDone(trx, delivery))) throw new LeaseLost();
        await commit(trx);
        failpoint("consumer.applied");
      });
    } catch (error) {
      delivery.ending = false; // the lease is renewed meanwhile
      if (!isConnectionTrouble(error) || Date.now() > deadline || delivery.abort.signal.aborted) throw error;
    }
    await delay(COMMIT_RETRY_MS);
  }
}

/** Makes the message a dead letter and runs the handler's `dead` in the same transaction. */
async function deadLetter(db: Db, handler: Handler, delivery: Delivery, attempts: number, error: string) {
  delivery.ending = true;
  const result = { attempts, error, deadLetterId: newId() };
  const tries = delivery.claimed.attempts - attempts;
  if (!handler.dead || tries >= DEAD_HANDLER_TRIES) {
    await markDead(db, delivery, result);
    return;
  }
  const { dead } = handler;
  try {
    await db.transaction(async (trx) => {
      if (!(await markDead(trx, delivery, result))) return;
      await traced("settle", delivery, () => dead(trx, messageOf(delivery.claimed), error));
    });
  } catch {
    // The next claim exceeds the maximum number of deliveries, so it calls this function again.
    await reschedule(db, delivery, NOT_ENTERED_DELAY_MS * 2 ** tries, 1, error);
  }
}

function messageOf({ messageId, source, type, subject, time, dataschema, traceparent, data }: Claimed) {
  const trace = traceparent === undefined ? {} : { traceparent };
  return {
    ...{ specversion: "1.0", id: messageId, source, type, subject, time, dataschema, ...trace, data },
  } as Message;
}

/** Whether a dependency was unavailable. The message itself is not the cause. */
function isUnavailable(error: unknown): boolean {
  return typeOf(error) === "SERVICE_UNAVAILABLE" || isConnectionTrouble(error);
}

function describe(error: unknown): { text: string; permanent: boolean; retryAfterMs: number } {
  const { type, permanent, retryAfterMs } = (error ?? {}) as Partial<HandlerError> & { type?: string };
  const text = type === undefined ? reasonOf(error) : `${type}: ${reasonOf(error)}`;
  return {
    text: shorten(text, ERROR_LENGTH),
    permanent: permanent === true,
    retryAfterMs: Number(retryAfterMs) || 0,
  };
}

/** Runs the work in a span that continues the trace of the sender. The span of a batch links to those of all messages. */
function traced<T>(
  operation: "process" | "settle",
  { claimed, group }: Delivery,
  work: () => Promise<T>,
  batch: readonly Delivery[] = [],
): Promise<T> {
  const attributes = {
    "messaging.system": "waybill",
    "messaging.operation.name": operation,
    "messaging.operation.type": operation,
    "messaging.consumer.group.name": group,
    "messaging.message.id": claimed.messageId,
    "messaging.destination.name": claimed.type,
    "waybill.delivery": claimed.attempts,
    ...(batch.length > 0 && { "messaging.batch.message_count": batch.length }),
  };
  const links = batch.map((delivery) => delivery.claimed.traceparent);
  return inTraceOf(claimed.traceparent, `${operation} ${claimed.type}`, work, { attributes, links });
}
