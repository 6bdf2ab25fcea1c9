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
 * Work behind a service: it starts after everything else of the service has started and stops before anything
 * else stops, wherever its mixin stands. Moleculer runs the `started` of mixins from the last to the first, so
 * in an ordinary hook a relay would meet a database that is not open yet, and at the end one that is closed.
 */
export function background(work: BackgroundWork): Partial<ServiceSchema> {
  const start: Hook = async function (this: Service) {
    await work.start({ logger: this.logger, nodeID: this.broker.nodeID });
  };
  const mixin = {
    merged(schema: Hooks) {
      schema.started = [schema.started ?? [], start].flat();
      schema.stopped = [schema.stopped ?? [], () => work.stop()].flat(); // run from the last to the first
    },
  };
  return mixin as Partial<ServiceSchema>;
}
