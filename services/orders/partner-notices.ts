import type { Handlers } from "../../mixins/consumer/handlers.ts";
import { commit } from "./change.ts";
import type { OrdersDeps } from "./deps.ts";
import { noticeReported } from "./order-partner.ts";
import { findOrder, lockOrder } from "./orders.repository.ts";
import { inOrderTrace } from "./trace.ts";

/** Partners reports whether a partner was notified of its order: from then on the partner's time to accept runs. */
export function noticeHandlers(deps: Pick<OrdersDeps, "outbox" | "wakeRefunds">): Handlers {
  return {
    "partner.notified": {
      async apply(trx, { data: notice }) {
        const { orderId, partnerId } = notice;
        await lockOrder(trx, orderId);
        const found = await findOrder(trx, orderId, { role: "partner", partnerId });
        if (!found) return;
        const { order, nowMs, traceparent } = found;
        await inOrderTrace(traceparent, "partner notified", () =>
          commit(deps, trx, order, noticeReported(order, notice, nowMs)),
        );
      },
    },
  };
}
