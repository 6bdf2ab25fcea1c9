import type { Service, ServiceBroker, ServiceSchema } from "moleculer";
import { type LiveData, type LiveEvent, liveEvents } from "../../contracts/live.ts";

export interface Live {
  /** Goes into the service's `mixins`. */
  readonly mixin: Partial<ServiceSchema>;
  /** Tells every node; whoever misses it has missed nothing but the moment. */
  tell<E extends LiveEvent>(event: E, data: LiveData<E>): void;
  /** The service's logger, for work that no call has begun. @throws Error before the service has started */
  readonly logger: ServiceBroker["logger"];
}

/** What those who watch an order at this moment are told, by every node's broker. */
export function live(): Live {
  let broker: ServiceBroker | undefined;
  let logger: ServiceBroker["logger"] | undefined;
  return {
    get logger() {
      if (!logger) throw new Error("the service has not started");
      return logger;
    },
    tell(event, data) {
      if (event in liveEvents) broker?.broadcast(event, data).catch(() => undefined);
    },
    mixin: {
      async started(this: Service) {
        broker = this.broker;
        logger = this.logger;
      },
      async stopped() {
        broker = undefined;
      },
    },
  };
}
