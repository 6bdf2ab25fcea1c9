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
import { listUndelivered, type Undelivered } from "./dead-letters.repository.ts";
import { deadLetterActions } from "./dead-letters.ts";
import type { Handler, Handlers } from "./handlers.ts";
import {
  acceptMessages,
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
const UNDELIVERED_MAX = 100;

export interface ConsumerLimits extends WorkerLimits {
  /** How long the inbox remembers what it has handled. */
  retentionMs: number;
  /** Messages whose effect is in the database alone: claimed at once, and run at once. */
  applyClaims: number;
  applyConcurrency: number;
  /** Messages whose effect is outside that run at once. */
  performConcurrency: number;
}

export const consumerLimits: ConsumerLimits = {
  deliveries: 5,
  backoff: { firstMs: 500, factor: 5, maxMs: 60_000, jitter: 0.5 },
  deliveryMs: 60_000,
  leaseMs: 10_000,
  renewMs: 3_000,
  sweepMs: 1_000,
  drainMs: 5_000,
  retentionMs: INBOX_RETENTION_MS,
  applyClaims: 64,
  applyConcurrency: 4,
  performConcurrency: 32,
};

export interface ConsumerOptions {
  postgres: Postgres;
  messageBus: MessageBus;
  /** The consumer group: the name of the service, unless it has several inboxes. */
  group: string;
  handlers: Handlers;
  clock?: Clock;
  /** Where it is told what operators do with dead letters; without it there are no actions for them. */
  outbox?: Pick<Outbox, "add">;
  limits?: Partial<ConsumerLimits>;
  /** Where one process plays several: each its own. */
  isolation?: Isolation;
}

export interface Consumer {
  /**
   * Goes into the service's `mixins`: subscribes and works while the service runs, and brings the actions
   * `deadLetters`, `replayDeadLetter`, `dropDeadLetter` and `dropDeadLetters`.
   */
  readonly mixin: Partial<ServiceSchema>;
  stats(): Promise<InboxStats>;
  /** Which kind of work has had all its places taken for too long; undefined while none has. */
  saturated(): string | undefined;
  /** Age of the oldest message that waits for something outside that its handler needs; 0 when none does. */
  lagMs(): Promise<number>;
  /** Messages about a subject, in this database's inbox and outbox, that have not had their effect yet. */
  undelivered(subject: string): Promise<Undelivered[]>;
}

/**
 * The inbox of one consumer group and the workers that empty it.
 * @throws Error when the inbox would forget before the outboxes do
 */
export function consumer(options: ConsumerOptions): Consumer {
  const { postgres, group } = options;
  const limits = { ...consumerLimits, ...options.limits };
  assertRetention(OUTBOX_RETENTION_MS, limits.retentionMs);
  const needy = Object.entries(options.handlers).flatMap(([type, { needs }]) => (needs ? [type] : []));
  let running: Awaited<ReturnType<typeof start>> | undefined;
  const start = async (logger: Logger) => startConsumer(options, limits, logger);
  return {
    stats: () => inboxStats(postgres.db, group, Object.keys(options.handlers)),
    saturated: () => running?.saturated(),
    lagMs: () => oldestWaitingMs(postgres.db, group, needy),
    undelivered: (subject) => listUndelivered(postgres.db, subject, UNDELIVERED_MAX),
    mixin: {
      actions: deadLetterActions({ ...options, wake: () => running?.revived() }),
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
  const me = newId();
  const announcing = announcer({ db, channel: CHANNEL, from: me });
  const { isolation } = options;
  const common = {
    ...{ db, group, limits, logger, onMore: announcing.announce },
    ...(isolation && { isolation }),
  };
  const workers = kinds(handlers, limits).map(({ kind, ...own }) =>
    startWorker({ ...common, ...own, name: `inbox ${group}, ${kind}` }),
  );
  const wake = (types?: ReadonlySet<string>) => {
    for (const worker of workers) {
      if (!types || worker.types.some((type) => types.has(type))) worker.wake();
    }
  };
  const listener = startListener({
    url: postgres.url,
    channel: CHANNEL,
    logger,
    onWake: (from) => from !== me && wake(),
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

  const accept = async (messages: readonly unknown[]) => {
    const nowMs = clock.now();
    const judged = messages.map((message) => parseMessage(message, nowMs, limits.retentionMs));
    for (const { id, type, error } of judged) {
      if (error) logger.error(`quarantined ${type} ${id}:`, error);
    }
    failpoint("consumer.accepting");
    const fresh = await acceptMessages(db(), group, judged);
    failpoint("consumer.accepted");
    if (fresh > 0) wake(new Set(judged.map(({ type }) => type)));
  };
  const unsubscribe = await messageBus.subscribe(group, Object.keys(handlers) as MessageType[], accept);

  return {
    saturated: () => workers.map((worker) => worker.saturated()).find((problem) => problem !== undefined),
    /** A dead letter is back: whichever worker and replica has its group. */
    revived() {
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

/**
 * Each kind of work has a worker of its own: calls to the slow outside never stand in front of effects in the database,
 * and what is written to a store that may be slow or away never stands in front of a push.
 */
function kinds(handlers: Handlers, limits: ConsumerLimits) {
  const of = (isOfIt: (handler: Handler) => boolean): Handlers =>
    Object.fromEntries(Object.entries(handlers).filter(([, handler]) => isOfIt(handler as Handler)));
  // Twice as many are claimed as run, or at full load each that ends would be followed by a claim for a single one.
  const performing = { concurrency: limits.performConcurrency, claims: 2 * limits.performConcurrency };
  const groups = new Set(Object.values(handlers).map(({ workers }) => workers));
  const all = [
    {
      kind: "apply",
      handlers: of(({ inTransaction: apply }) => apply !== undefined),
      concurrency: limits.applyConcurrency,
      claims: limits.applyClaims,
    },
    ...[...groups].map((group) => ({
      kind: group ?? "perform",
      handlers: of(({ external: perform, needs, workers }) =>
        Boolean(perform && !needs && workers === group),
      ),
      ...performing,
    })),
    {
      kind: "perform with a store",
      handlers: of(({ external: perform, needs }) => Boolean(perform && needs)),
      ...performing,
    },
  ];
  return all.filter((one) => Object.keys(one.handlers).length > 0);
}
