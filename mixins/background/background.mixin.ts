import type { Service, ServiceSchema } from "moleculer";
import type { Logger } from "../../lib/logger.ts";

export interface BackgroundWork {
  start(service: { logger: Logger; nodeID: string }): Promise<void>;
  stop(): Promise<void>;
}

type Hook = (this: Service) => Promise<void>;
interface Hooks {
  started?: Hook | Hook[];
  stopped?: Hook | Hook[];
}

/**
 * Background work of a service. It starts after all other parts of the service and stops before them, at any position of
 * its mixin. Moleculer runs the `started` hooks of mixins from the last to the first, so with an ordinary hook a relay
 * could start before its database is open, and stop after it is closed.
 */
export function background(work: BackgroundWork): Partial<ServiceSchema> {
  const start: Hook = async function (this: Service) {
    await work.start({ logger: this.logger, nodeID: this.broker.nodeID });
  };
  const mixin = {
    merged(schema: Hooks) {
      schema.started = [schema.started ?? [], start].flat();
      schema.stopped = [schema.stopped ?? [], () => work.stop()].flat(); // Moleculer runs them from the last to the first
    },
  };
  return mixin as Partial<ServiceSchema>;
}
