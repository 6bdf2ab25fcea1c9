import type { Service, ServiceBroker } from "moleculer";
import { liveEvents } from "../../../contracts/live.ts";
import type { LiveUpdates } from "../dependencies.ts";

/** Publishes events to the clients that watch an order now. */
export function liveUpdates(): LiveUpdates {
  let broker: ServiceBroker | undefined;
  return {
    publish(event, data) {
      if (event in liveEvents) broker?.broadcast(event, data).catch(() => undefined);
    },
    mixin: {
      async started(this: Service) {
        broker = this.broker;
      },
      async stopped() {
        broker = undefined;
      },
    },
  };
}
