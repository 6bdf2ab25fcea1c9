import { outsideOfTraces } from "../tracing/index.ts";
import type { Logger } from "./logger.ts";

/** Why there is a run: somebody said that there is work, or it is time to look. */
export type Cause = "woken" | "sweep";

export interface Runner {
  /** Asks for a run; asked during a run, there is another one after it. */
  wake(): void;
  /** No further runs; resolves when the running one is over. */
  stop(): Promise<void>;
}

/**
 * Calls `run` whenever it is woken and at least every `sweepMs`, never twice at once. What `run` throws is
 * logged and forgotten: the next sweep tries again. A run serves all, so it is no part of the trace that woke it.
 */
export function startRunner(options: {
  name: string;
  sweepMs: number;
  run: (cause: Cause) => Promise<void>;
  logger: Logger;
}): Runner {
  let wanted: Cause | undefined;
  let running: Promise<void> | undefined;
  let stopped = false;

  const work = async () => {
    while (wanted && !stopped) {
      const cause = wanted;
      wanted = undefined;
      try {
        await outsideOfTraces(() => options.run(cause));
      } catch (error) {
        options.logger.warn(`${options.name} failed, the next sweep tries again:`, String(error));
      }
    }
  };
  const want = (cause: Cause) => {
    if (wanted !== "woken") wanted = cause;
    if (stopped || running) return;
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
      stopped = true;
      clearInterval(sweep);
      await running;
    },
  };
}
