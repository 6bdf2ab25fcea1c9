import type { Params, Result } from "../../../contracts/actions.ts";
import { fail } from "../../../contracts/errors.ts";
import { LOG_PAGE_MAX, type LogEntry } from "../../../contracts/streams.ts";
import type { Logger } from "../../../lib/logger.ts";
import { startRunner } from "../../../lib/messaging/runner.ts";

/** The newest entries, kept for streams that reconnect: an entry takes some 1 KB. */
const WINDOW_ENTRIES = 5_000;
/** The entries of this time are read at the start. */
const WINDOW_AT_START_MS = 60_000;
/** Finds entries whose broadcast was lost. */
const SWEEP_MS = 5_000;
/** Under load, entries that are written within this time share a read. */
const PAUSE_MS = 20;

export type ReadLog = (params: Params<"orders.events">) => Promise<Result<"orders.events">>;

/** Reads the event log once for all streams of this process, and keeps its newest entries. */
export interface LogFollower {
  /** Reads the log up to its end as it is now. Concurrent calls share a read. @throws the error of the read */
  refreshed(): Promise<void>;
  /** The newest entry that was read. All listeners have got it. */
  position(): number;
  /**
   * Up to `max` entries after a place, from memory; none if the place is the newest one. Undefined if the memory does not
   * reach back to it, or if it is no place of the log.
   */
  after(place: number, max: number): readonly LogEntry[] | undefined;
  /** Reads new entries now. */
  wake(): void;
  stop(): Promise<void>;
}

export interface LogListener {
  added(entries: readonly LogEntry[]): void;
  /** The log has lost entries after the last position, for example by the restore of a backup. */
  lost(): void;
}

export function followLog(read: ReadLog, listener: LogListener, logger: Logger): LogFollower {
  let window: LogEntry[] = [];
  /** The place before the first entry of the window, and that of its last one. */
  let from = 0;
  let position = 0;
  let isReady = false;
  let waiting: PromiseWithResolvers<void>[] = [];

  const add = (entries: readonly LogEntry[]) => {
    window.push(...entries);
    position = window.at(-1)?.id ?? position;
    const excess = window.length - WINDOW_ENTRIES;
    if (excess <= 0) return;
    from = (window[excess - 1] as LogEntry).id;
    window = window.slice(excess);
  };
  const begin = async () => {
    const { position: newest } = await read({ limit: 1 });
    const start = Math.max(0, newest - WINDOW_AT_START_MS * 1_000);
    const entries: LogEntry[] = [];
    for (let after = start, more = true; more; ) {
      const { items } = await read({ after, limit: LOG_PAGE_MAX });
      entries.push(...items);
      after = items.at(-1)?.id ?? after;
      more = items.length === LOG_PAGE_MAX;
    }
    // `start` is no place of an entry: the window begins after its first one.
    [from, position] = [entries[0]?.id ?? newest, newest];
    add(entries.slice(1));
    isReady = true;
  };
  const readNew = async (stopping: AbortSignal) => {
    for (let more = true; more && !stopping.aborted; ) {
      const page = await read({ after: position, limit: LOG_PAGE_MAX });
      if (!page.isKnown && position > 0) {
        [window, from, position] = [[], page.position, page.position];
        listener.lost();
        return;
      }
      add(page.items);
      listener.added(page.items);
      more = page.items.length === LOG_PAGE_MAX;
    }
  };
  const runner = startRunner({
    name: "reading the event log",
    sweepMs: SWEEP_MS,
    pauseMs: PAUSE_MS,
    logger,
    async run(_cause, stopping) {
      const served = waiting;
      waiting = [];
      try {
        await (isReady ? readNew(stopping) : begin());
        for (const { resolve } of served) resolve();
      } catch (error) {
        for (const { reject } of served) reject(error);
        throw error;
      }
    },
  });

  return {
    refreshed() {
      const one = Promise.withResolvers<void>();
      waiting.push(one);
      runner.wake();
      return one.promise;
    },
    position: () => position,
    after(place, max) {
      if (place === position) return [];
      if (place === from) return window.slice(0, max);
      const index = indexOf(window, place);
      return index === undefined ? undefined : window.slice(index + 1, index + 1 + max);
    },
    wake: runner.wake,
    async stop() {
      await runner.stop();
      for (const { reject } of waiting) reject(fail("SERVICE_UNAVAILABLE", "This gateway is stopping."));
    },
  };
}

/** Binary search. Undefined if there is no entry with this id. */
function indexOf(entries: readonly LogEntry[], id: number): number | undefined {
  let low = 0;
  let high = entries.length - 1;
  while (low <= high) {
    const middle = (low + high) >>> 1;
    const found = (entries[middle] as LogEntry).id;
    if (found === id) return middle;
    if (found < id) low = middle + 1;
    else high = middle - 1;
  }
  return undefined;
}
