import { millis, type StreamInfo } from "nats";
import { checkpointOf, lossSince, parseCheckpoint } from "./jetstream-checkpoint.ts";
import type { ReplayState } from "./port.ts";

const CHECK_INTERVAL_MS = 5_000;
/** Longer than a relay takes from the message bus's answer to its commit. */
const MARKED_AFTER_MS = 6_000;
/** Replicas that note at the same time go round once more. */
const NOTE_TRIES = 5;

export interface Watch {
  add(outbox: ReplayState): () => Promise<void>;
  /** Looks now: something shows that the stream may not be what it was. Never rejects. */
  check(): Promise<void>;
  reconnected(): void;
  stop(): Promise<void>;
}

interface Watched {
  outbox: ReplayState;
  /** It has to hand over its last minutes again. */
  recent: boolean;
}

/**
 * Compares the stream with what each outbox noted of it, now and then, and has the outbox hand over again what may
 * be gone.
 * @param info the stream as it is, made where it was missing
 */
export function startWatch(options: {
  stream: string;
  info: () => Promise<StreamInfo>;
  report: (line: string) => void;
}): Watch {
  const { stream, info, report } = options;
  const all = new Set<Watched>();
  let checking: Promise<void> | undefined;
  let checkAgain = false;
  let stopped = false;
  let later: NodeJS.Timeout | undefined;

  const compare = async (watched: Watched) => {
    const { outbox } = watched;
    for (let tries = 0; tries < NOTE_TRIES; tries += 1) {
      const seen = await outbox.checkpoint();
      const now = await info(); // after the mark: another replica's may be newer than what was asked before it
      const before = parseCheckpoint(seen);
      const loss = before && lossSince(before, now, Date.now());
      // What is older than that would have gone by itself, and takes room from what is said from now on.
      const kept = now.config.max_age > 0 ? millis(now.config.max_age) : Number.POSITIVE_INFINITY;
      const again = loss ? kept : watched.recent ? "recent" : undefined;
      const next = JSON.stringify(checkpointOf(now));
      if (!again && next === seen) return;
      if (!(await outbox.saveCheckpoint(next, seen, again))) continue;
      watched.recent = false;
      if (loss) report(`${stream}: ${loss}; what it may have held is handed over again`);
      if (loss) againLater();
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
    })().catch(() => undefined); // who publishes or subscribes tells what is wrong, and the next look comes soon
    await checking;
    checking = undefined;
  };
  const wantRecent = () => {
    for (const watched of all) watched.recent = true;
    void check();
  };
  /** What was acknowledged before, and is marked as handed over only now, is not overlooked. */
  const againLater = () => {
    clearTimeout(later);
    later = setTimeout(wantRecent, MARKED_AFTER_MS);
    later.unref();
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
    /** What was acknowledged last may not have reached the disk of a server that died. */
    reconnected() {
      wantRecent();
      againLater();
    },
    async stop() {
      stopped = true;
      all.clear();
      clearInterval(timer);
      clearTimeout(later);
      await checking;
    },
  };
}
