import type { Service, ServiceBroker } from "moleculer";
import { liveEvents } from "../../../contracts/live.ts";
import type { Live } from "../dependencies.ts";

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
