import type { Logger } from "../logger.ts";
import { isConnectionTrouble } from "../sql/database.ts";
import { logDatabaseWait } from "../sql/database-wait.ts";
import { outsideOfTraces } from "../tracing/index.ts";

/** The delay before a run is repeated after the database was busy or restarting. */
const DATABASE_RETRY_MS = 1_000;

/** The cause of a run: `wake` was called, or the interval has passed. */
export type Cause = "woken" | "sweep";

export interface Runner {
  /** Requests a run. During a run, another one follows it. */
  wake(): void;
  /** Starts no further runs, aborts the signal of the running one, and resolves when it has ended. */
  stop(): Promise<void>;
}

/**
 * Calls `run` after each wake and at least every `sweepMs`, never concurrently. Errors of `run` are logged, and the next
 * sweep tries again. A run does work for all, so it is not a part of the trace that woke it.
 * @param options.run a long run must end early when `stopping` is aborted
 * @param options.pauseMs after a run, wakes wait so long and share the next run. Default: 0
 */
export function startRunner(options: {
  name: string;
  sweepMs: number;
  run: (cause: Cause, stopping: AbortSignal) => Promise<void>;
  logger: Logger;
  pauseMs?: number;
}): Runner {
  let requested: Cause | undefined;
  let running: Promise<void> | undefined;
  const stop = new AbortController();
  const stopping = stop.signal;
  let endPause: () => void = () => undefined;
  const pause = (ms: number) =>
    new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      endPause = () => {
        clearTimeout(timer);
        resolve();
      };
    });

  let retry: NodeJS.Timeout | undefined;

  const work = async () => {
    while (requested && !stopping.aborted) {
      const cause = requested;
      requested = undefined;
      try {
        await outsideOfTraces(() => options.run(cause, stopping));
      } catch (error) {
        if (isConnectionTrouble(error)) {
          logDatabaseWait(options.logger, error);
          retry = setTimeout(() => request(cause), DATABASE_RETRY_MS);
          retry.unref();
        } else {
          options.logger.warn(`${options.name} failed, the next sweep tries again:`, String(error));
        }
      }
      if (options.pauseMs && !stopping.aborted) await pause(options.pauseMs);
    }
  };
  const request = (cause: Cause) => {
    if (requested !== "woken") requested = cause;
    if (stopping.aborted || running) return;
    running = work().finally(() => {
      running = undefined;
      if (requested) request(requested); // woken between the last check and this line
    });
  };
  const sweep = setInterval(() => request("sweep"), options.sweepMs);
  sweep.unref();
  request("sweep");
  return {
    wake: () => request("woken"),
    async stop() {
      stop.abort();
      endPause();
      clearInterval(sweep);
      clearTimeout(retry);
      await running;
    },
  };
}

/** Repeats `work` until it returns less than a full batch or `stopping` is aborted. */
export async function inBatches(
  size: number,
  work: () => Promise<number>,
  stopping?: AbortSignal,
): Promise<void> {
  while (!stopping?.aborted && (await work()) === size);
}
