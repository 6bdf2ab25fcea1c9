import type { Handlers } from "../../../mixins/consumer/handlers.ts";
import type { EventLog } from "../use-cases/event-log.ts";

/** The handlers that write alerts and duties into the event log. The projections write the moves of orders. */
export function eventLogHandlers(log: EventLog): Handlers {
  return {
    "alert.raised": {
      needs: log,
      idempotent: true,
      external: async (message) => void (await log.append(message)),
    },
    "courier.duty_changed": {
      needs: log,
      idempotent: true,
      external: async (message) => void (await log.append(message)),
    },
  };
}
