import type { ServiceSchema } from "moleculer";
import type { MessageType } from "../../contracts/messages.ts";
import { type Clock, systemClock } from "../../lib/clock.ts";
import { failpoint } from "../../lib/failpoint.ts";
import { newId } from "../../lib/ids.ts";
import type { Logger } from "../../lib/logger.ts";
import { announcer } from "../../lib/messaging/announcer.ts";
import { startListener } from "../../lib/messaging/listener.ts";
import { assertRetention, INBOX_RETENTION_MS, OUTBOX_RETENTION_MS } from "../../lib/messaging/retention.ts";
import { inBatches, startRunner } from "../../lib/messaging/runner.ts";
import type { MessageBus } from "../../providers/message-bus/index.ts";
import { background } from "../background/background.mixin.ts";
import type { Outbox } from "../outbox/outbox.mixin.ts";
import type { Postgres } from "../postgres/postgres.mixin.ts";
import { type ArrivalLimits, arrival } from "./arrival.ts";
import { deadLetterActions } from "./dead-letters.ts";
import type { Handler, Handlers } from "./handlers.ts";
import {
  type InboxRow,
  type InboxStats,
  inboxStats,
  oldestWaitingMs,
  pruneInbox,
} from "./inbox.repository.ts";
import { parseMessage } from "./parse-message.ts";
import { type Isolation, startWorker, type WorkerLimits } from "./worker.ts";

export type { Handler, HandlerError, Handlers, Lease } from "./handlers.ts";

const CHANNEL = "waybill_inbox";
const PRUNE_INTERVAL_MS = 600_000;
const PRUNE_BATCH = 1_000;

export interface ConsumerLimits extends WorkerLimits, ArrivalLimits {
  /** How long the inbox keeps the ids of handled messages. */
  retentionMs: number;
  /** The maximum number of `inTransaction` messages that are claimed, and of transactions that run, at one time. */
  inTransactionClaims: number;
  inTransactionConcurrency: number;
  /** The maximum number of `external` messages that run at one time. */
  externalConcurrency: number;
}

export const consumerLimits: ConsumerLimits = {
  deliveries: 5,
  backoff: { firstMs: 500, factor: 5, maxMs: 60_000, jitter: 0.5 },
  deliveryMs: 60_000,
  arrivalMs: 250,
  arrivalLockMs: 50,
  leaseMs: 10_000,
  renewMs: 3_000,
  sweepMs: 1_000,
  drainMs: 5_000,
  retentionMs: INBOX_RETENTION_MS,
  inTransactionClaims: 64,
  inTransactionConcurrency: 4,
  externalConcurrency: 32,
};

export interface ConsumerOptions {
  postgres: Postgres;
  messageBus: MessageBus;
  /** The consumer group. It is the name of the service, unless the service has several inboxes. */
  group: string;
  handlers: Handlers;
  clock?: Clock;
  /** Receives the audit messages of what operators do with dead letters. Absent: there are no actions for them. */
  outbox?: Pick<Outbox, "add">;
  limits?: Partial<ConsumerLimits>;
  /** For tests that run several processes in one: each has an object of its own. */
  isolation?: Isolation;
}

export interface Consumer {
  /**
   * Goes into the service's `mixins`. It subscribes and works while the service runs, and adds the actions
   * `deadLetters`, `replayDeadLetter`, `replayDeadLetters`, `dropDeadLetter`, `dropDeadLetters` and `undelivered`.
   */
  readonly mixin: Partial<ServiceSchema>;
  stats(): Promise<InboxStats>;
  /** Names a kind of work that has been at its concurrency limit for too long; undefined when none has. */
  saturated(): string | undefined;
  /** Age of the oldest message whose handler has `needs` and that waits; 0 when there is none. */
  lagMs(): Promise<number>;
}

/**
 * The inbox of one consumer group and the workers that handle its messages.
 * @throws Error when the inbox keeps ids for a shorter time than outboxes may repeat messages
 */
export function consumer(options: ConsumerOptions): Consumer {
  const { postgres, group } = options;
  const limits = { ...consumerLimits, ...options.limits };
  assertRetention(OUTBOX_RETENTION_MS, limits.retentionMs);
  const typesWithNeeds = Object.entries(options.handlers).flatMap(([type, { needs }]) =>
    needs ? [type] : [],
  );
  let running: Awaited<ReturnType<typeof start>> | undefined;
  const start = async (logger: Logger) => startConsumer(options, limits, logger);
  return {
    stats: () => inboxStats(postgres.db, group, Object.keys(options.handlers)),
    saturated: () => running?.saturated(),
    lagMs: () => oldestWaitingMs(postgres.db, group, typesWithNeeds),
    mixin: {
      metadata: { readsMessages: Object.keys(options.handlers) },
      actions: deadLetterActions({ ...options, wake: () => running?.requeued() }),
      ...background({
        async start({ logger }) {
          running = await start(logger);
        },
        async stop() {
          const stopping = running;
          running = undefined;
          await stopping?.stop();
        },
      }),
    },
  };
}

async function startConsumer(options: ConsumerOptions, limits: ConsumerLimits, logger: Logger) {
  const { postgres, messageBus, group, handlers, clock = systemClock } = options;
  const db = () => postgres.db;
  const replicaId = newId();
  const announcing = announcer({ db, channel: CHANNEL, from: replicaId });
  const { isolation } = options;
  const common = {
    ...{ db, group, limits, logger, onMore: announcing.announce },
    ...(isolation && { isolation }),
  };
  const workers = kinds(handlers, limits).map(({ kind, ...own }) =>
    startWorker({ ...common, ...own, name: `inbox ${group}, ${kind}` }),
  );
  const workerOf = new Map(workers.flatMap((worker) => worker.types.map((type) => [type, worker] as const)));
  const wake = (types?: ReadonlySet<string>) => {
    for (const worker of workers) {
      if (!types || worker.types.some((type) => types.has(type))) worker.wake();
    }
  };
  const listener = startListener({
    url: postgres.url,
    channel: CHANNEL,
    logger,
    onWake: (from) => from !== replicaId && wake(),
  });
  const pruner = startRunner({
    name: `pruning the inbox of ${group}`,
    sweepMs: PRUNE_INTERVAL_MS,
    logger,
    run: async (_cause, stopping) => {
      const before = newId(clock.now() - limits.retentionMs);
      await inBatches(PRUNE_BATCH, () => pruneInbox(db(), before, PRUNE_BATCH), stopping);
    },
  });

  const store = arrival({
    ...{ db, group, handlers, workerOf, limits, logger },
    startedMs: clock.now(),
  });
  const accept = async (messages: readonly unknown[], redelivered = false) => {
    const nowMs = clock.now();
    const parsed = uniqueById(messages.map((message) => parseMessage(message, nowMs, limits.retentionMs)));
    for (const { id, type, error } of parsed) {
      if (error) logger.error(`quarantined ${type} ${id}:`, error);
    }
    failpoint("consumer.accepting");
    const waiting = await store(parsed, redelivered);
    failpoint("consumer.accepted");
    if (waiting.size > 0) wake(waiting);
  };
  const unsubscribe = await messageBus.subscribe(group, Object.keys(handlers) as MessageType[], accept);

  return {
    saturated: () => workers.map((worker) => worker.saturated()).find((problem) => problem !== undefined),
    /** Wakes the workers of all replicas after a dead letter was put back into the queue. */
    requeued() {
      wake();
      announcing.announce();
    },
    async stop() {
      await unsubscribe();
      announcing.stop();
      await Promise.all([listener.stop(), pruner.stop(), ...workers.map((worker) => worker.stop())]);
    },
  };
}

/** The first message of each id: the message bus may deliver one twice in a batch, and a worker must get it once. */
function uniqueById(messages: readonly InboxRow[]): InboxRow[] {
  const first = new Map<string, InboxRow>();
  for (const message of messages) if (!first.has(message.id)) first.set(message.id, message);
  return [...first.values()];
}

/**
 * Each kind of work has a worker of its own. So slow external calls never delay messages whose effect is in the database,
 * and writes to a store that is slow or unavailable never delay push notifications.
 */
function kinds(handlers: Handlers, limits: ConsumerLimits) {
  const handlersWhere = (matches: (handler: Handler) => boolean): Handlers =>
    Object.fromEntries(Object.entries(handlers).filter(([, handler]) => matches(handler as Handler)));
  // Twice the concurrency is claimed. Otherwise, at full load, each message that ends would cause a claim of one message.
  const external = { concurrency: limits.externalConcurrency, claims: 2 * limits.externalConcurrency };
  const groups = new Set(Object.values(handlers).map(({ workers }) => workers));
  const all = [
    {
      kind: "in transaction",
      handlers: handlersWhere(({ inTransaction }) => inTransaction !== undefined),
      concurrency: limits.inTransactionConcurrency,
      claims: limits.inTransactionClaims,
    },
    ...[...groups].map((group) => ({
      kind: group ?? "external",
      handlers: handlersWhere((handler) =>
        Boolean(handler.external && !handler.needs && handler.workers === group),
      ),
      ...external,
    })),
    {
      kind: "external with a store",
      handlers: handlersWhere((handler) => Boolean(handler.external && handler.needs)),
      ...external,
    },
  ];
  return all.filter((one) => Object.keys(one.handlers).length > 0);
}
