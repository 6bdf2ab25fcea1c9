import type { Logger } from "../logger.ts";
import { isConnectionTrouble } from "../sql/database.ts";
import { sayDatabaseWait } from "../sql/database-wait.ts";
import { outsideOfTraces } from "../tracing/index.ts";

/** A run that met a busy or restarting database is repeated so soon. */
const DATABASE_RETRY_MS = 1_000;

/** Why there is a run: somebody said that there is work, or it is time to look. */
export type Cause = "woken" | "sweep";

export interface Runner {
  /** Asks for a run; asked during a run, there is another one after it. */
  wake(): void;
  /** No further runs; tells the running one, and resolves when that is over. */
  stop(): Promise<void>;
}

/**
 * Calls `run` whenever it is woken and at least every `sweepMs`, never twice at once. What `run` throws is
 * logged and forgotten: the next sweep tries again. A run serves all, so it is no part of the trace that woke it.
 * @param options.run is told by `stopping` that it is waited for: who has much to do ends between two pieces of it
 */
export function startRunner(options: {
  name: string;
  sweepMs: number;
  run: (cause: Cause, stopping: AbortSignal) => Promise<void>;
  logger: Logger;
}): Runner {
  let wanted: Cause | undefined;
  let running: Promise<void> | undefined;
  const stop = new AbortController();
  const stopping = stop.signal;

  let retry: NodeJS.Timeout | undefined;

  const work = async () => {
    while (wanted && !stopping.aborted) {
      const cause = wanted;
      wanted = undefined;
      try {
        await outsideOfTraces(() => options.run(cause, stopping));
      } catch (error) {
        if (isConnectionTrouble(error)) {
          sayDatabaseWait(options.logger, error);
          retry = setTimeout(() => want(cause), DATABASE_RETRY_MS);
          retry.unref();
        } else {
          options.logger.warn(`${options.name} failed, the next sweep tries again:`, String(error));
        }
      }
    }
  };
  const want = (cause: Cause) => {
    if (wanted !== "woken") wanted = cause;
    if (stopping.aborted || running) return;
    running = work().finally(() => {
      running = undefined;
      if (wanted) want(wanted); // woken between the last look and this line
    });
  };
  const sweep = setInterval(() => want("sweep"), options.sweepMs);
  sweep.unref();
  want("sweep");
  return {
    wake: () => want("woken"),
    async stop() {
      stop.abort();
      clearInterval(sweep);
      clearTimeout(retry);
      await running;
    },
  };
}

/** Repeats `work` for as long as it finds a full batch to do, at most until whoever runs it is to stop. */
export async function inBatches(
  size: number,
  work: () => Promise<number>,
  stopping?: AbortSignal,
): Promise<void> {
  while (!stopping?.aborted && (await work()) === size);
}
