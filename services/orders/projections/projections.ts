import type { MessageData, MessageType } from "../../../contracts/messages.ts";
import type { HistoryEvent } from "../../../contracts/orders.ts";
import { omitUndefined } from "../../../lib/omit-undefined.ts";
import type { Handler, Handlers } from "../../../mixins/consumer/handlers.ts";
import { documents, type StoreLocation } from "../../../mixins/documents/documents.mixin.ts";
import type { Postgres } from "../../../mixins/postgres/postgres.mixin.ts";
import type { LiveUpdates } from "../dependencies.ts";
import type { EventLog } from "../use-cases/event-log.ts";
import { type HistoryDocument, historyId, type Projections, receiptId } from "./order-documents.ts";
import { rebuildHistory, rebuildPayments } from "./rebuild.ts";

/** The document collections of this service, with their rebuild from its database. */
export function orderProjections(postgres: Postgres, store: StoreLocation): Projections {
  const history: Projections["history"] = documents({
    ...store,
    collection: "order_history",
    indexes: [["orderId", "version"]],
    rebuild: (progress) => rebuildHistory(postgres, history, progress),
  });
  const payments: Projections["payments"] = documents({
    ...store,
    collection: "payments",
    indexes: [["orderId"]],
    rebuild: (progress) => rebuildPayments(postgres, payments, progress),
  });
  return { history, payments };
}

type OrderMessageType = MessageType & `order.${string}`;

/**
 * The handlers that store this service's own messages as documents, and messages for streams in the event log. Watching
 * clients are notified after the history is updated. While the document store is unavailable, the messages wait.
 */
export function projectionHandlers(
  { history, payments }: Projections,
  live: Pick<LiveUpdates, "publish">,
  log: EventLog,
): Handlers {
  const addToHistory: Handler<OrderMessageType> = {
    needs: history,
    idempotent: true,
    async external(message) {
      const { type, time, data } = message;
      await Promise.all([history.insert(historyDocument(type, time, data)), log.append(message)]);
      live.publish("order.moved", { orderId: data.orderId, version: data.version });
    },
  };
  const saveReceipt: Handler<"payment.received" | "payment.unmatched"> = {
    needs: payments,
    idempotent: true,
    async external({ type, time, data }) {
      const { bankId, paymentId, orderId, amount, outcome } = data;
      const values = { orderId, bankId, paymentId, amount, outcome, at: time };
      const document = { _id: receiptId(bankId, paymentId), kind: "receipt" as const, ...values };
      // An unmatched payment may be assigned to an order later, so payment.received is the newer of the two messages.
      if (type === "payment.received") await payments.put(omitUndefined(document));
      else await payments.insert(omitUndefined(document));
    },
  };
  const orderTypes: OrderMessageType[] = [
    "order.created",
    "order.paid",
    "order.accepted",
    "order.rejected",
    "order.ready",
    "order.delayed",
    "order.offered",
    "order.offer_declined",
    "order.offer_expired",
    "order.pooled",
    "order.assigned",
    "order.picked_up",
    "order.released",
    "order.delivered",
    "order.failed",
    "order.cancelled",
    "order.expired",
  ];
  return {
    ...(Object.fromEntries(orderTypes.map((type) => [type, addToHistory])) as Handlers),
    "payment.received": saveReceipt,
    "payment.unmatched": saveReceipt,
    "refund.completed": {
      needs: payments,
      idempotent: true,
      async external({ time, data }) {
        const { refundId, orderId, bankId, paymentId, amount, reason } = data;
        const values = { orderId, bankId, paymentId, amount, reason };
        await payments.insert({ _id: refundId, kind: "refund", ...values, at: time });
      },
    },
  };
}

function historyDocument(
  type: OrderMessageType,
  at: string,
  data: MessageData<OrderMessageType>,
): HistoryDocument {
  const { orderId, version, status: to, previousStatus: from, actor, reason, traceId } = data;
  const document = { _id: historyId(orderId, version), orderId, type, at, from, to, actor, reason, traceId };
  return omitUndefined({ ...document, version });
}

/** An order's history from the document store, the oldest line first. */
export async function historyOf({ history }: Projections, orderId: string): Promise<HistoryEvent[]> {
  const found = await history.find({ query: { orderId }, sort: ["version"] });
  return found.map(({ _id, type, at, from, to, actor, reason, traceId, version }) =>
    omitUndefined({ id: _id, type, at, from, to, actor, reason, traceId, version }),
  );
}
