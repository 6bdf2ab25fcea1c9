import type { Logger } from "./logger.ts";

export interface Runner {
  /** Asks for a run; asked during a run, there is another one after it. */
  wake(): void;
  /** No further runs; resolves when the running one is over. */
  stop(): Promise<void>;
}

/**
 * Calls `run` whenever it is woken and at least every `sweepMs`, never twice at once. What `run` throws is
 * logged and forgotten: the next sweep tries again.
 */
export function startRunner(options: {
  name: string;
  sweepMs: number;
  run: () => Promise<void>;
  logger: Logger;
}): Runner {
  let wanted = false;
  let running: Promise<void> | undefined;
  let stopped = false;

  const work = async () => {
    while (wanted && !stopped) {
      wanted = false;
      try {
        await options.run();
      } catch (error) {
        options.logger.warn(`${options.name} failed, the next sweep tries again:`, String(error));
      }
    }
  };
  const wake = () => {
    wanted = true;
    if (stopped || running) return;
    running = work().finally(() => {
      running = undefined;
      if (wanted) wake(); // woken between the last look and this line
    });
  };
  const sweep = setInterval(wake, options.sweepMs);
  sweep.unref();
  wake();
  return {
    wake,
    async stop() {
      stopped = true;
      clearInterval(sweep);
      await running;
    },
  };
}
