import type { ServiceSchema } from "moleculer";
import type { NewMessage } from "../../contracts/messages.ts";
import { type Clock, systemClock } from "../../lib/clock.ts";
import { newId } from "../../lib/ids.ts";
import type { Logger } from "../../lib/logger.ts";
import { type Announcer, announcer } from "../../lib/messaging/announcer.ts";
import { type Listener, startListener } from "../../lib/messaging/listener.ts";
import { OUTBOX_RETENTION_MS } from "../../lib/messaging/retention.ts";
import { inBatches, type Runner, startRunner } from "../../lib/messaging/runner.ts";
import type { Database, Transaction } from "../../lib/sql/database.ts";
import type { MessageBus } from "../../providers/message-bus/index.ts";
import { background } from "../background/background.mixin.ts";
import type { Postgres } from "../postgres/postgres.mixin.ts";
import { envelope } from "./envelope.ts";
import {
  insertMessages,
  messageRows,
  type OutboxStats,
  outboxStats,
  pruneOutbox,
} from "./outbox.repository.ts";
import { type RelayLimits, relay, relayLimits } from "./relay.ts";
import { replay, replayState } from "./replay.ts";
import { unreadableRowAlerts } from "./unreadable-rows.ts";

const CHANNEL = "waybill_outbox";
const SWEEP_MS = 1_000;
/** Messages that are committed within this time after a batch are published in the next one. */
const PAUSE_MS = 20;
/** How soon another replica continues a replay after the process that ran it has ended. */
const REPLAY_SWEEP_MS = 5_000;
const PRUNE_INTERVAL_MS = 600_000;
const PRUNE_BATCH = 1_000;
const DRAIN_MS = 2_000;

export interface Outbox {
  /** Goes into the service's `mixins`; runs the relay while the service runs. */
  readonly mixin: Partial<ServiceSchema>;
  /**
   * Stores messages in the caller's transaction: they are published if and only if it commits.
   * @throws Error when a message does not match its contract
   */
  add(trx: Transaction, messages: readonly NewMessage[]): Promise<void>;
  /**
   * Makes the rows of messages for a statement that inserts them by `insertOfMessages`. @returns its binding `:messages`
   * @param committed when it resolves, the messages can be read
   */
  rowsFor(committed: Promise<unknown>, messages: readonly NewMessage[]): string;
  /** The messages that are not published yet. */
  stats(): Promise<OutboxStats>;
}

export interface OutboxOptions {
  postgres: Postgres;
  messageBus: MessageBus;
  /** The `source` of each message, for example `waybill/orders`. */
  source: string;
  clock?: Clock;
  limits?: Partial<RelayLimits & { sweepMs: number; retentionMs: number }>;
}

/** The outbox of one service, with the relay that publishes its messages to the message bus. */
export function outbox(options: OutboxOptions): Outbox {
  const { postgres, messageBus, source, clock = systemClock } = options;
  const limits = { ...relayLimits, sweepMs: SWEEP_MS, retentionMs: OUTBOX_RETENTION_MS, ...options.limits };
  const me = newId();
  let running: Running | undefined;

  const envelopes = (messages: readonly NewMessage[]) => {
    const nowMs = clock.now();
    return messages.map((message) => envelope(source, message, nowMs));
  };
  const wakeAfter = (committed: Promise<unknown>) => {
    committed.then(
      () => running?.relay.wake(),
      () => undefined,
    );
  };

  return {
    async add(trx, messages) {
      if (messages.length === 0) return;
      await insertMessages(trx, envelopes(messages));
      wakeAfter(trx.committed);
    },
    rowsFor(committed, messages) {
      if (messages.length > 0) wakeAfter(committed);
      return messageRows(envelopes(messages));
    },
    stats: () => outboxStats(postgres.db),
    mixin: background({
      async start({ logger }) {
        postgres.onUnreadableRow(unreadableRowAlerts({ postgres, source, clock, logger }));
        const db = () => postgres.db;
        const announcing = announcer({ db, channel: CHANNEL, from: me });
        const pass = relay({ db, messageBus, logger, limits, onMore: announcing.announce });
        const runner = startRunner({
          name: "relay",
          sweepMs: limits.sweepMs,
          pauseMs: PAUSE_MS,
          logger,
          run: (why, stopping) => pass(why, () => stopping.aborted),
        });
        running = {
          relay: runner,
          drain() {
            const untilMs = Date.now() + DRAIN_MS;
            return pass("sweep", () => Date.now() >= untilMs).catch(() => undefined);
          },
          pruner: startRunner({
            name: "pruning the outbox",
            sweepMs: PRUNE_INTERVAL_MS,
            logger,
            run: (_cause, stopping) =>
              inBatches(PRUNE_BATCH, () => pruneOutbox(db(), limits.retentionMs, PRUNE_BATCH), stopping),
          }),
          listener: startListener({
            url: postgres.url,
            channel: CHANNEL,
            logger,
            onWake: (from) => from !== me && runner.wake(),
          }),
          announcer: announcing,
          endReplays: await startReplays({ db, messageBus, logger, batch: limits.batch }),
        };
      },
      async stop() {
        const stopping = running;
        running = undefined;
        if (!stopping) return;
        stopping.announcer.stop();
        await stopping.endReplays();
        await Promise.all([stopping.listener.stop(), stopping.pruner.stop(), stopping.relay.stop()]);
        await stopping.drain(); // messages of the last requests should not wait for the next start
      },
    }),
  };
}

interface Running {
  relay: Runner;
  drain(): Promise<void>;
  pruner: Runner;
  listener: Listener;
  announcer: Announcer;
  endReplays(): Promise<void>;
}

/** Replays messages when the message bus requests it. A message bus that stores nothing never does. */
async function startReplays(options: {
  db: () => Database;
  messageBus: MessageBus;
  logger: Logger;
  batch: number;
}): Promise<() => Promise<void>> {
  const { db, messageBus, logger } = options;
  if (!messageBus.watch) return async () => undefined;
  const pass = replay(options);
  const runner = startRunner({
    name: "publishing again",
    sweepMs: REPLAY_SWEEP_MS,
    logger,
    run: (_cause, stopping) => pass(stopping),
  });
  const endWatch = await messageBus.watch(replayState(db, runner.wake));
  return async () => {
    await endWatch();
    await runner.stop();
  };
}
