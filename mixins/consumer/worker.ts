import { failpoint } from "../../lib/failpoint.ts";
import { newId } from "../../lib/ids.ts";
import type { Logger } from "../../lib/logger.ts";
import { type Runner, startRunner } from "../../lib/messaging/runner.ts";
import { saturation } from "../../lib/saturation.ts";
import type { Database } from "../../lib/sql/database.ts";
import { waitAtMost } from "../../lib/timeout.ts";
import {
  BATCH_MAX,
  canBatch,
  type Delivery,
  type DeliveryLimits,
  deliver,
  deliverBatch,
} from "./delivery.ts";
import type { Handler, Handlers } from "./handlers.ts";
import {
  type Claimed,
  type ClaimedDue,
  claimDue,
  isIsolated,
  renewLeases,
  reschedule,
} from "./inbox.repository.ts";

const RELEASE_TIMEOUT_MS = 1_000;

export interface WorkerLimits extends DeliveryLimits {
  leaseMs: number;
  renewMs: number;
  sweepMs: number;
  /** Time limit of a stop for running deliveries. */
  drainMs: number;
}

export interface WorkerOptions {
  name: string;
  db: () => Database;
  group: string;
  handlers: Handlers;
  /** The maximum number of runs at one time. */
  concurrency: number;
  /** Called when messages wait that this worker cannot take now, so that other replicas claim some. */
  onMore: () => void;
  /** The maximum number of claimed messages, running and queued. */
  claims: number;
  limits: WorkerLimits;
  logger: Logger;
  /** Shared by all workers of the process. Default: one instance for the process. */
  isolation?: Isolation;
}

export interface Worker {
  readonly types: readonly string[];
  wake(): void;
  /**
   * Reserves a place for a message of this type that has just arrived, so that it needs no claim of its own. Refuses while
   * the last claim left messages, while all places are taken, and while the dependency of the type is unavailable: the
   * message is then stored as waiting, and types share the places as in each claim.
   */
  reserve(type: string): boolean;
  /** Ends reservations: delivers the claimed messages. `count`: how many places were reserved. */
  take(claimed: readonly Claimed[], token: string, count: number): void;
  /** Says that the worker has been at its concurrency limit for too long; undefined when it has not. */
  saturated(): string | undefined;
  stop(): Promise<void>;
}

/**
 * Whether a message that may crash the process is being delivered. The whole process, with all its services, delivers
 * only one of them at a time. Otherwise a message that crashes the process would also use up the deliveries of suspects
 * in other inboxes.
 */
export interface Isolation {
  taken: boolean;
}

const ofThisProcess: Isolation = { taken: false };

/** Claims due messages of one group and delivers them to their handlers, until it is stopped. */
export function startWorker(options: WorkerOptions): Worker {
  const { db, group, handlers, concurrency, claims, limits, logger, onMore } = options;
  const { isolation = ofThisProcess } = options;
  const types = Object.keys(handlers);
  const held = new Set<Delivery>();
  const queue: Delivery[] = [];
  const running = new Set<Promise<void>>();
  const load = saturation(options.name);
  const handlerOf = (type: string) => handlers[type as keyof Handlers] as Handler;
  /** Messages wait that were not claimed. */
  let more = false;
  let reserved = 0;
  let stopped = false;
  const isWorkable = (type: string) => {
    const { needs, duringOutage } = handlerOf(type);
    return duringOutage || needs?.available() !== false;
  };

  const claim = async () => {
    for (;;) {
      const limit = claims - held.size - reserved;
      // Messages whose dependency is unavailable are not claimed, so any number of them costs nothing.
      const workable = types.filter(isWorkable);
      if (stopped || workable.length === 0) return;
      if (limit <= 0) {
        more = true; // a worker is woken because messages wait
        onMore();
        return;
      }
      const token = newId();
      const mayIsolate = !isolation.taken;
      if (mayIsolate) isolation.taken = true;
      let claimed: ClaimedDue[] = [];
      try {
        const wanted = {
          group,
          types: workable,
          limit,
          isolated: mayIsolate ? 1 : 0,
          token,
          leaseMs: limits.leaseMs,
        };
        claimed = await claimDue(db(), wanted);
      } finally {
        if (mayIsolate && !claimed.some(isIsolated)) isolation.taken = false;
      }
      enqueue(claimed, token);
      more = mayBeMore(claimed);
      startQueued();
      if (!more) return;
      onMore();
    }
  };

  const enqueue = (claimed: readonly Claimed[], token: string) => {
    if (claimed.length > 0) failpoint("consumer.claimed");
    for (const one of claimed) {
      const abort = new AbortController();
      const delivery = { group, messageId: one.messageId, token, claimed: one, abort, ending: false };
      held.add(delivery);
      queue.push(delivery);
    }
  };

  const startQueued = () => {
    while (!stopped && running.size < concurrency && queue.length > 0) {
      const run = work(nextOfQueue());
      running.add(run);
      load.note(running.size, concurrency);
      // `work` logs every failure and never rejects.
      void run.then(() => {
        running.delete(run);
        load.note(running.size, concurrency);
        startQueued();
        claimMore();
      });
    }
  };

  /** Claims again while the last messages of a batch are still running, not only after them. */
  const claimMore = () => {
    if (more && queue.length === 0) runner.wake();
  };

  /** The next message, or the next messages that may share a transaction. */
  const nextOfQueue = (): Delivery[] => {
    const firstSeparate = queue.findIndex(
      (delivery) => !canBatch(handlerOf(delivery.claimed.type), delivery),
    );
    // Spread over the free runs: a shared transaction saves statements, parallel transactions save time.
    const fair = Math.ceil(queue.length / (concurrency - running.size));
    const sharing = Math.min(firstSeparate < 0 ? queue.length : firstSeparate, fair, BATCH_MAX);
    return queue.splice(0, Math.max(1, sharing));
  };

  const work = async (deliveries: Delivery[]) => {
    if (deliveries.length > 1) {
      try {
        await deliverBatch(db(), ({ claimed }) => handlerOf(claimed.type), deliveries, limits.deliveryMs);
        for (const delivery of deliveries) held.delete(delivery);
        return;
      } catch (error) {
        logger.debug(`${deliveries.length} messages are delivered again one by one:`, String(error));
      }
    }
    for (const delivery of deliveries) await workOn(delivery);
  };

  const workOn = async (delivery: Delivery) => {
    const { messageId, claimed } = delivery;
    try {
      if (delivery.abort.signal.aborted) return; // the lease was lost while the message was queued
      await deliver(db(), handlerOf(claimed.type), delivery, limits, logger);
    } catch (error) {
      logger.warn(`${claimed.type} ${messageId}: its result could not be stored:`, String(error));
    } finally {
      held.delete(delivery);
      if (isIsolated(claimed)) {
        isolation.taken = false;
        runner.wake();
      }
    }
  };

  const renew = async () => {
    const open = [...held].filter(({ ending }) => !ending);
    if (open.length === 0) return;
    const keys = open.map(({ messageId, token }) => ({ messageId, token }));
    const renewed = await renewLeases(db(), group, keys, limits.leaseMs);
    for (const delivery of open) {
      if (!renewed.has(delivery.messageId) && !delivery.ending) {
        delivery.abort.abort(new Error("the lease was lost"));
      }
    }
  };

  const runner: Runner = startRunner({ name: options.name, sweepMs: limits.sweepMs, run: claim, logger });
  const renewer = startRunner({
    name: `${options.name} leases`,
    sweepMs: limits.renewMs,
    run: renew,
    logger,
  });

  return {
    types,
    wake: runner.wake,
    reserve(type) {
      if (stopped || more || held.size + reserved >= claims || !isWorkable(type)) {
        more = true;
        return false;
      }
      reserved += 1;
      return true;
    },
    take(claimed, token, count) {
      reserved -= count;
      enqueue(claimed, token);
      startQueued();
      claimMore();
    },
    saturated: load.problem,
    async stop() {
      stopped = true;
      await runner.stop();
      const unstarted = queue.splice(0);
      if (unstarted.some(({ claimed }) => isIsolated(claimed))) isolation.taken = false;
      await Promise.allSettled(unstarted.map((delivery) => reschedule(db(), delivery, 0, 0)));
      await waitAtMost(limits.drainMs, Promise.allSettled(running));
      await renewer.stop();
      // Abort the handlers that still run, so that their messages are released while the database is open.
      for (const delivery of held) delivery.abort.abort(new Error("the service stops"));
      await waitAtMost(RELEASE_TIMEOUT_MS, Promise.allSettled(running));
    },
  };
}

/** Whether the claim returned as many messages of one type as it may. */
function mayBeMore(claimed: readonly ClaimedDue[]): boolean {
  const lanes = Map.groupBy(claimed, ({ type }) => type);
  return [...lanes.values()].some((lane) => lane.length >= (lane[0]?.share ?? 0));
}
