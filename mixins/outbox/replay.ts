import type { Logger } from "../../lib/logger.ts";
import type { Database } from "../../lib/sql/database.ts";
import { withTimeout } from "../../lib/timeout.ts";
import type { MessageBus, ReplayRange, ReplayState } from "../../providers/message-bus/index.ts";
import { PUBLISH_TIMEOUT_MS } from "./relay.ts";
import {
  advanceReplay,
  claimReplay,
  endReplay,
  findCheckpoint,
  isRecent,
  isReplaying,
  replayedMessages,
  saveCheckpoint,
} from "./replay.repository.ts";

/**
 * A broker may acknowledge messages before they are on its disk: those of the last seconds, here with a wide margin. They
 * are replayed even when the message bus has no space for a replay, because they are few and it knows most of them.
 */
const RECENT_MS = 600_000;

const lookbackMs = (again: ReplayRange) => (again === "recent" ? RECENT_MS : again);

/** The part of the outbox that its message bus uses. @param onAgain is called when a replay was requested */
export function replayState(db: () => Database, onAgain: () => void): ReplayState {
  return {
    checkpoint: () => findCheckpoint(db()),
    async saveCheckpoint(next, seen, again) {
      const noted = await saveCheckpoint(
        db(),
        next,
        seen,
        again === undefined ? undefined : lookbackMs(again),
      );
      if (noted && again !== undefined) onAgain();
      return noted;
    },
  };
}

/**
 * One pass of a replay: publishes sent messages again, the newest first. The newest are most likely to be lost, and when
 * there is no space for all, the oldest wait. The position is saved in the database after each batch, so the replay
 * continues after a restart; the rows themselves do not change. One replica replays at a time. A replay may take minutes,
 * so a stop ends it after the running batch.
 */
export function replay(options: {
  db: () => Database;
  messageBus: MessageBus;
  batch: number;
  logger: Logger;
}): (stopping?: AbortSignal) => Promise<void> {
  const { db, messageBus, batch, logger } = options;
  let waiting = false;

  const handOver = async (): Promise<{ count: number; over: boolean }> => {
    const hasRoom = (await messageBus.hasReplayCapacity?.()) ?? true;
    return db().transaction(async (trx) => {
      const claimed = await claimReplay(trx);
      if (!claimed) return { count: 0, over: true };
      const found = await replayedMessages(trx, claimed, batch);
      const waits = !hasRoom && found[0] && !(await isRecent(trx, found[0].sentAt, claimed.since, RECENT_MS));
      if (waits && !waiting) logger.warn("the message bus has no room to spare: repeated messages wait");
      waiting = waits === true;
      if (waiting) return { count: 0, over: true };
      if (found.length > 0) {
        await withTimeout(PUBLISH_TIMEOUT_MS, () => messageBus.publish(found.map(({ message }) => message)));
      }
      const last = found.at(-1);
      if (!last || found.length < batch) await endReplay(trx);
      else await advanceReplay(trx, last.sentAt, last.message.id);
      return { count: found.length, over: found.length < batch };
    });
  };

  return async (stopping) => {
    if (!(await isReplaying(db())) || !(await messageBus.ready())) return;
    let total = 0;
    for (let over = false; !over && !stopping?.aborted; ) {
      const handed = await handOver();
      total += handed.count;
      over = handed.over;
    }
    if (total > 0) logger.info(`${total} messages were published again`);
  };
}
