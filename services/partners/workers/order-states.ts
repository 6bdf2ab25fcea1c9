import type { Service, ServiceBroker, ServiceSchema } from "moleculer";
import { call } from "../../../contracts/actions.ts";
import { partOfRequestTimeout } from "../../../mixins/retry-deadline/request-timeout.ts";
import type { OrderState } from "../dependencies.ts";

const TIMEOUT_MS = 700;

/** Reads the present states of orders from Orders, for work that no call has started. */
export function orderStates(): { mixin: Partial<ServiceSchema>; read: OrderState } {
  let broker: ServiceBroker | undefined;
  return {
    mixin: {
      created(this: Service) {
        broker = this.broker;
      },
    },
    async read(orderId) {
      if (!broker) throw new Error("the service has not been created");
      const timeout = partOfRequestTimeout(broker, TIMEOUT_MS);
      return (await call(broker, "orders.state", { orderId }, { timeout })).state;
    },
  };
}
