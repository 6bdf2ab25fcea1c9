import { millis, type StreamInfo } from "nats";
import { checkpointOf, lossSince, parseCheckpoint } from "./jetstream-checkpoint.ts";
import type { ReplayState } from "./port.ts";

const CHECK_INTERVAL_MS = 5_000;
/** Longer than a relay takes from the acknowledgement to its commit. */
const COMMITTED_AFTER_MS = 6_000;
/** Attempts to save a checkpoint while other replicas save theirs. */
const SAVE_ATTEMPTS = 5;

export interface Watch {
  add(outbox: ReplayState): () => Promise<void>;
  /** Compares now, because the stream may have changed. Never rejects. */
  check(): Promise<void>;
  reconnected(): void;
  stop(): Promise<void>;
}

interface WatchedOutbox {
  outbox: ReplayState;
  /** Whether the outbox must replay its last minutes. */
  recent: boolean;
}

/**
 * Compares the stream with the checkpoint of each outbox every few seconds, and starts a replay of what may be lost.
 * @param info returns the state of the stream after it has created a missing one
 */
export function startWatch(options: {
  stream: string;
  info: () => Promise<StreamInfo>;
  report: (line: string) => void;
}): Watch {
  const { stream, info, report } = options;
  const all = new Set<WatchedOutbox>();
  let checking: Promise<void> | undefined;
  let checkAgain = false;
  let stopped = false;
  let secondReplay: NodeJS.Timeout | undefined;

  const compare = async (watched: WatchedOutbox) => {
    const { outbox } = watched;
    for (let attempt = 0; attempt < SAVE_ATTEMPTS; attempt += 1) {
      const seen = await outbox.checkpoint();
      const now = await info(); // after the checkpoint, which another replica may have saved just now
      const before = parseCheckpoint(seen);
      const loss = before && lossSince(before, now, Date.now());
      // Older messages would have expired in the stream, and they would take space from new ones.
      const maxAgeMs = now.config.max_age > 0 ? millis(now.config.max_age) : Number.POSITIVE_INFINITY;
      const again = loss ? maxAgeMs : watched.recent ? "recent" : undefined;
      const next = JSON.stringify(checkpointOf(now));
      if (!again && next === seen) return;
      if (!(await outbox.saveCheckpoint(next, seen, again))) continue;
      watched.recent = false;
      if (loss) report(`${stream}: ${loss}; the outbox publishes its messages again`);
      if (loss) replayOnceMore();
      return;
    }
  };
  const check = async () => {
    checkAgain = true;
    checking ??= (async () => {
      while (checkAgain && !stopped) {
        checkAgain = false;
        await Promise.all([...all].map(compare));
      }
    })().catch(() => undefined); // publish and subscribe report the error, and the next check comes soon
    await checking;
    checking = undefined;
  };
  const replayRecent = () => {
    for (const watched of all) watched.recent = true;
    void check();
  };
  /** Includes the messages that were acknowledged before the loss and marked as sent only after it. */
  const replayOnceMore = () => {
    clearTimeout(secondReplay);
    secondReplay = setTimeout(replayRecent, COMMITTED_AFTER_MS);
    secondReplay.unref();
  };
  const timer = setInterval(check, CHECK_INTERVAL_MS);
  timer.unref();

  return {
    add(outbox) {
      const watched = { outbox, recent: true };
      all.add(watched);
      void check();
      return async () => {
        all.delete(watched);
        await checking;
      };
    },
    check,
    /** A crashed server may not have written to disk what it acknowledged last. */
    reconnected() {
      replayRecent();
      replayOnceMore();
    },
    async stop() {
      stopped = true;
      all.clear();
      clearInterval(timer);
      clearTimeout(secondReplay);
      await checking;
    },
  };
}
