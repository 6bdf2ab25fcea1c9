import type { Handlers } from "../../../mixins/consumer/handlers.ts";
import { applyNotice } from "../domain/order-partner.ts";
import { findOrder, lockOrder } from "../store/orders.repository.ts";
import { isConflict, type SaveDependencies, saveDecision } from "../store/unit-of-work.ts";
import { inOrderTrace } from "../use-cases/order-trace.ts";

/** Handles the reports of Partners on notices to partners. The partner's time to accept begins with the report. */
export function noticeHandlers(deps: SaveDependencies): Handlers {
  return {
    "partner.notified": {
      async inTransaction(trx, { data: notice }) {
        const { orderId, partnerId } = notice;
        const apply = async () => {
          const found = await findOrder(trx, orderId, { role: "partner", partnerId });
          if (!found) return;
          const { order, nowMs, traceparent } = found;
          await inOrderTrace(traceparent, "partner notified", () =>
            saveDecision(deps, trx, order, applyNotice(order, notice, nowMs)),
          );
        };
        try {
          await apply();
        } catch (error) {
          // Nothing was written. With the lock, the next read is the last version.
          if (!isConflict(error)) throw error;
          await lockOrder(trx, orderId);
          await apply();
        }
      },
    },
  };
}
