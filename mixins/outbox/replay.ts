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
 * What a broker may have acknowledged before it had it on disk, with a wide margin. So little goes whether or not
 * there is room to spare: it is next to nothing beside what a message bus keeps, which knows most of it besides.
 */
const RECENT_MS = 600_000;

const lookbackMs = (again: ReplayRange) => (again === "recent" ? RECENT_MS : again);

/** The outbox as its message bus sees it. @param onAgain there is something to hand over again */
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
 * One pass of a repeated hand-over: what was handed over goes to the message bus again, the newest first, since what
 * was lost is most likely the newest, and when there is no room for all it is the oldest that waits. How far it came
 * stands in the database, batch by batch, so that it outlives this process; the rows themselves are not touched. One
 * replica at a time does it. It may take minutes, so a stop ends it after the running batch.
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
      if (waits && !waiting)
        logger.warn("the message bus has no room to spare: what is to be handed over again waits");
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
    if (total > 0) logger.info(`${total} messages were handed over again`);
  };
}
