import { setTimeout as delay } from "node:timers/promises";
import type { Knex } from "knex";
import { typeOf } from "../../contracts/errors.ts";
import type { Message } from "../../contracts/messages.ts";
import { type Backoff, backoffMs, jittered } from "../../lib/backoff.ts";
import { failpoint } from "../../lib/failpoint.ts";
import { newId } from "../../lib/ids.ts";
import type { Logger } from "../../lib/logger.ts";
import { isConnectionTrouble, reasonOf } from "../../lib/sql/database.ts";
import { shorten } from "../../lib/text.ts";
import { inTraceOf } from "../../lib/tracing/index.ts";
import type { Commit, Handler, HandlerError } from "./handlers.ts";
import { type Claimed, type Fence, markAllDone, markDead, markDone, reschedule } from "./inbox.repository.ts";

const ERROR_LENGTH = 2_000;
const SCHEDULE_JITTER = 0.2;
/** How often the handler's `dead` may fail before the message dies without it. */
const DEAD_HANDLER_TRIES = 5;
const NOT_ENTERED_DELAY_MS = 500;
/** How soon a message comes again that found what it needs away; it is not claimed before that is back. */
const NEED_AWAY_DELAY_MS = 5_000;
const NEED_AWAY_JITTER = 0.8;
const COMMIT_PATIENCE_MS = 5_000;
const COMMIT_RETRY_MS = 200;

export interface DeliveryLimits {
  /** Deliveries of a message whose handler has no schedule of its own. */
  deliveries: number;
  backoff: Backoff;
  /** The longest time that one delivery may take. */
  deliveryMs: number;
}

/** A claimed message on its way through its handler. */
export interface Delivery extends Fence {
  readonly claimed: Claimed;
  readonly abort: AbortController;
  /** Its end is being written: the row is locked, so the lease needs no renewal and cannot be lost. */
  ending: boolean;
}

/** Messages whose handler says `together`, in one transaction at most. */
export const BATCH_MAX = 32;

class LeaseLost extends Error {}

/**
 * Brings one message to its handler and writes what became of it. Rejects only when that could not be written;
 * the lease then runs out, and the message comes again.
 */
export async function deliver(
  db: Knex,
  handler: Handler,
  delivery: Delivery,
  limits: DeliveryLimits,
  logger: Logger,
): Promise<void> {
  const { claimed } = delivery;
  const deliveries = handler.schedule ? handler.schedule.length + 1 : limits.deliveries;
  // Above the count without a failure: the process ended each time. That may happen to anybody who is near, so
  // it takes the usual number of deliveries even where the handler's own schedule is shorter.
  const most = claimed.suspect ? Math.max(deliveries, limits.deliveries) : deliveries;
  if (claimed.attempts > most) {
    await bury(db, handler, delivery, most, claimed.error ?? "the process ended during its delivery");
    return;
  }
  const entered = { value: false };
  try {
    await traced("process", delivery, () =>
      handle(db, handler, delivery, deliveries, limits.deliveryMs, entered),
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
    if (handler.needs && isAway(error)) {
      logger.debug(`${claimed.type} ${claimed.messageId} waits:`, failure.text);
      await reschedule(db, delivery, jittered(NEED_AWAY_DELAY_MS, NEED_AWAY_JITTER), 0, failure.text);
      return;
    }
    if (claimed.attempts >= deliveries || failure.permanent) {
      logger.error(`${claimed.type} ${claimed.messageId} is dead after ${claimed.attempts}:`, failure.text);
      await bury(db, handler, delivery, claimed.attempts, failure.text);
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

/** A message that may share a transaction: its handler says so, and nothing ever went wrong with it. */
export function canBatch(handler: Handler | undefined, { claimed }: Delivery): boolean {
  return handler?.batch === true && claimed.attempts === 1 && !claimed.suspect;
}

/**
 * Brings messages to their handlers in one transaction. @throws what the first failing handler threw, with
 * nothing committed; each message then deserves a delivery of its own
 */
export async function deliverBatch(
  db: Knex,
  handlerOf: (delivery: Delivery) => Handler,
  deliveries: readonly Delivery[],
  deliveryMs: number,
): Promise<void> {
  for (const delivery of deliveries) delivery.ending = true;
  try {
    await db.transaction(async (trx) => {
      const done = await markAllDone(trx, deliveries);
      for (const delivery of deliveries) {
        const { inTransaction: apply } = handlerOf(delivery);
        if (!apply || !done.has(delivery.messageId)) continue;
        const { claimed, abort } = delivery;
        await traced("process", delivery, () =>
          within(apply(trx, messageOf(claimed), claimed), deliveryMs, abort),
        );
      }
      failpoint("consumer.applied");
    });
    failpoint("consumer.committed");
  } finally {
    for (const delivery of deliveries) delivery.ending = false;
  }
}

/** The handler's effect and the message's state, committed together. */
async function handle(
  db: Knex,
  handler: Handler,
  delivery: Delivery,
  deliveries: number,
  deliveryMs: number,
  entered: { value: boolean },
): Promise<void> {
  const message = messageOf(delivery.claimed);
  const { signal } = delivery.abort;
  if (handler.inTransaction) {
    delivery.ending = true;
    await db.transaction(async (trx) => {
      if (!(await markDone(trx, delivery))) throw new LeaseLost();
      entered.value = true;
      await within(handler.inTransaction(trx, message, delivery.claimed), deliveryMs, delivery.abort);
      failpoint("consumer.applied");
    });
    return;
  }
  entered.value = true;
  const attempt = delivery.claimed.attempts;
  const work = handler.external(message, { signal, attempt, last: attempt >= deliveries });
  const commit = await within(work, deliveryMs, delivery.abort);
  failpoint("consumer.performed");
  await commitPatiently(db, delivery, commit);
}

/** The outside has been called: a database that is away for a moment must not make it be called again. */
async function commitPatiently(db: Knex, delivery: Delivery, commit: Commit | undefined): Promise<void> {
  const deadline = Date.now() + COMMIT_PATIENCE_MS;
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

/** State `dead`, together with what the handler does about it. */
async function bury(db: Knex, handler: Handler, delivery: Delivery, attempts: number, error: string) {
  delivery.ending = true;
  const died = { attempts, error, deadLetterId: newId() };
  const tries = delivery.claimed.attempts - attempts;
  if (!handler.dead || tries >= DEAD_HANDLER_TRIES) {
    await markDead(db, delivery, died);
    return;
  }
  const { dead } = handler;
  try {
    await db.transaction(async (trx) => {
      if (!(await markDead(trx, delivery, died))) return;
      await traced("settle", delivery, () => dead(trx, messageOf(delivery.claimed), error));
    });
  } catch {
    // Claimed again, it is over its count and comes straight here.
    await reschedule(db, delivery, NOT_ENTERED_DELAY_MS * 2 ** tries, 1, error);
  }
}

/** @throws the reason of the abort, which comes from outside or after `ms`; the work's own result is not used then */
async function within<T>(work: Promise<T>, ms: number, abort: AbortController): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const { signal } = abort;
  const onAbort = () => reject(signal.reason);
  const timer = setTimeout(() => abort.abort(new Error(`the handler took longer than ${ms} ms`)), ms);
  signal.addEventListener("abort", onAbort);
  if (signal.aborted) onAbort();
  try {
    return await Promise.race([work, aborted]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
  }
}

function messageOf({ messageId, source, type, subject, time, dataschema, traceparent, data }: Claimed) {
  const trace = traceparent === undefined ? {} : { traceparent };
  return {
    ...{ specversion: "1.0", id: messageId, source, type, subject, time, dataschema, ...trace, data },
  } as Message;
}

/** What a handler needs, or the way to it, and not the message itself. */
function isAway(error: unknown): boolean {
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

/** Runs the work in a span that continues the trace of whoever sent the message. */
function traced<T>(
  operation: "process" | "settle",
  { claimed, group }: Delivery,
  work: () => Promise<T>,
): Promise<T> {
  const attributes = {
    "messaging.system": "waybill",
    "messaging.operation.name": operation,
    "messaging.operation.type": operation,
    "messaging.consumer.group.name": group,
    "messaging.message.id": claimed.messageId,
    "messaging.destination.name": claimed.type,
    "waybill.delivery": claimed.attempts,
  };
  return inTraceOf(claimed.traceparent, `${operation} ${claimed.type}`, work, { attributes });
}
