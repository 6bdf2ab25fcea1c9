import type { ServiceSchema } from "moleculer";
import type { Logger } from "../../lib/logger.ts";
import { type Runner, startRunner } from "../../lib/messaging/runner.ts";
import { background } from "../background/background.mixin.ts";

export interface Timer {
  readonly mixin: Partial<ServiceSchema>;
  /** Requests a run now. */
  wake(): void;
}

/**
 * Calls `run` when the service has started and then every `intervalMs`. Runs never overlap. An error is logged and does not
 * prevent the next run. A stop aborts the signal of the current run and waits for its end. Each replica has a timer.
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
