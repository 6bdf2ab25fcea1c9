import type { Knex } from "knex";
import { failpoint } from "../../lib/failpoint.ts";
import { newId } from "../../lib/ids.ts";
import type { Logger } from "../../lib/logger.ts";
import { type Runner, startRunner } from "../../lib/messaging/runner.ts";
import { saturation } from "../../lib/saturation.ts";
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
import { type Claimed, claimDue, isIsolated, renewLeases, reschedule } from "./inbox.repository.ts";

const GIVE_BACK_MS = 1_000;

export interface WorkerLimits extends DeliveryLimits {
  leaseMs: number;
  renewMs: number;
  sweepMs: number;
  /** How long a stop waits for running deliveries. */
  drainMs: number;
}

export interface WorkerOptions {
  name: string;
  db: () => Knex;
  group: string;
  handlers: Handlers;
  /** Deliveries that run at once. */
  concurrency: number;
  /** There is more than this worker takes at once: other replicas may help. */
  onMore: () => void;
  /** Messages claimed at once, those that wait for their turn included. */
  claims: number;
  limits: WorkerLimits;
  logger: Logger;
  /** Shared by all workers of a process, which is what it is without. */
  isolation?: Isolation;
}

export interface Worker {
  readonly types: readonly string[];
  wake(): void;
  /** That all places have been taken for too long; undefined while they have not. */
  saturated(): string | undefined;
  stop(): Promise<void>;
}

/**
 * Whether a message that may kill the process is being delivered: one at a time in the whole process, whatever
 * service it belongs to, or the killer would take suspects of other inboxes along until they are counted dead.
 */
export interface Isolation {
  taken: boolean;
}

const ofThisProcess: Isolation = { taken: false };

/** Claims due messages of one group and brings them to their handlers, until it is stopped. */
export function startWorker(options: WorkerOptions): Worker {
  const { db, group, handlers, concurrency, claims, limits, logger, onMore } = options;
  const { isolation = ofThisProcess } = options;
  const types = Object.keys(handlers);
  const held = new Set<Delivery>();
  const queue: Delivery[] = [];
  const running = new Set<Promise<void>>();
  const places = saturation(options.name);
  const handlerOf = ({ claimed }: Delivery) => handlers[claimed.type as keyof Handlers] as Handler;
  let more = false;
  let stopped = false;

  const claim = async () => {
    for (;;) {
      const limit = claims - held.size;
      // What waits for something that is away stays where it is, however much it is, and costs nothing.
      const workable = types.filter((type) => handlers[type as keyof Handlers]?.needs?.available() !== false);
      if (stopped || limit <= 0 || workable.length === 0) return;
      const token = newId();
      const mayIsolate = !isolation.taken;
      if (mayIsolate) isolation.taken = true;
      let claimed: Claimed[] = [];
      try {
        const wanted = {
          group,
          types: workable,
          limit,
          alone: mayIsolate ? 1 : 0,
          token,
          leaseMs: limits.leaseMs,
        };
        claimed = await claimDue(db(), wanted);
      } finally {
        if (mayIsolate && !claimed.some(isIsolated)) isolation.taken = false;
      }
      if (claimed.length > 0) failpoint("consumer.claimed");
      for (const one of claimed) {
        const abort = new AbortController();
        const delivery = { group, messageId: one.messageId, token, claimed: one, abort, ending: false };
        held.add(delivery);
        queue.push(delivery);
      }
      more = mayBeMore(claimed);
      startQueued();
      if (!more) return;
      onMore();
    }
  };

  const startQueued = () => {
    while (!stopped && running.size < concurrency && queue.length > 0) {
      const run = work(nextOfQueue());
      running.add(run);
      places.note(running.size, concurrency);
      // `work` writes every failure to the log: it never rejects.
      void run.then(() => {
        running.delete(run);
        places.note(running.size, concurrency);
        startQueued();
        // Claim again while the last ones of a batch are still at work, not only after them.
        if (more && queue.length === 0) runner.wake();
      });
    }
  };

  /** The next message, or the next ones that may share a transaction. */
  const nextOfQueue = (): Delivery[] => {
    const shared = queue.findIndex((delivery) => !canBatch(handlerOf(delivery), delivery));
    // Spread over the free runs: sharing saves statements, running beside each other saves waiting.
    const fair = Math.ceil(queue.length / (concurrency - running.size));
    const sharing = Math.min(shared < 0 ? queue.length : shared, fair, BATCH_MAX);
    return queue.splice(0, Math.max(1, sharing));
  };

  const work = async (deliveries: Delivery[]) => {
    if (deliveries.length > 1) {
      try {
        await deliverBatch(db(), handlerOf, deliveries, limits.deliveryMs);
        for (const delivery of deliveries) held.delete(delivery);
        return;
      } catch (error) {
        logger.debug(`${deliveries.length} messages are repeated one by one:`, String(error));
      }
    }
    for (const delivery of deliveries) await workOn(delivery);
  };

  const workOn = async (delivery: Delivery) => {
    const { messageId, claimed } = delivery;
    try {
      if (delivery.abort.signal.aborted) return; // lost while it waited for its turn
      await deliver(db(), handlerOf(delivery), delivery, limits, logger);
    } catch (error) {
      logger.warn(`${claimed.type} ${messageId}: its state could not be written:`, String(error));
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
    saturated: places.problem,
    async stop() {
      stopped = true;
      await runner.stop();
      const unstarted = queue.splice(0);
      if (unstarted.some(({ claimed }) => isIsolated(claimed))) isolation.taken = false;
      await Promise.allSettled(unstarted.map((delivery) => reschedule(db(), delivery, 0, 0)));
      await waitAtMost(limits.drainMs, Promise.allSettled(running));
      await renewer.stop();
      // Whoever is not done now is told, and its message given back while the database is still there.
      for (const delivery of held) delivery.abort.abort(new Error("the service stops"));
      await waitAtMost(GIVE_BACK_MS, Promise.allSettled(running));
    },
  };
}

/** Whether a lane gave as much as was asked of it. */
function mayBeMore(claimed: readonly Claimed[]): boolean {
  const lanes = Map.groupBy(claimed, ({ type }) => type);
  return [...lanes.values()].some((lane) => lane.length >= (lane[0]?.share ?? 0));
}
