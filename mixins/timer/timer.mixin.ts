import type { ServiceSchema } from "moleculer";
import type { Logger } from "../../lib/logger.ts";
import { type Runner, startRunner } from "../../lib/messaging/runner.ts";
import { background } from "../background/background.mixin.ts";

export interface Timer {
  readonly mixin: Partial<ServiceSchema>;
  /** Asks for a run now. */
  wake(): void;
}

/**
 * Runs `run` when the service has started and then every `intervalMs`. Runs never overlap, an error is logged
 * and the next run comes, and the service stops only when the running one is over, which hears it by its signal.
 * Each replica has its own.
 */
export function timer(options: {
  name: string;
  intervalMs: number;
  run: (stopping: AbortSignal, logger: Logger) => Promise<void>;
}): Timer {
  let runner: Runner | undefined;
  return {
    wake: () => runner?.wake(),
    mixin: background({
      async start({ logger }) {
        runner = startRunner({
          name: options.name,
          sweepMs: options.intervalMs,
          run: (_cause, stopping) => options.run(stopping, logger),
          logger,
        });
      },
      async stop() {
        await runner?.stop();
        runner = undefined;
      },
    }),
  };
}
