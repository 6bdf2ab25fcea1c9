import type { MessageData, MessageType } from "../../../contracts/messages.ts";
import type { HistoryEvent } from "../../../contracts/orders.ts";
import { omitUndefined } from "../../../lib/omit-undefined.ts";
import type { Handler, Handlers } from "../../../mixins/consumer/handlers.ts";
import { documents, type StorePlace } from "../../../mixins/documents/documents.mixin.ts";
import type { Postgres } from "../../../mixins/postgres/postgres.mixin.ts";
import type { Live } from "../dependencies.ts";
import { type HistoryDocument, historyId, type Projections, receiptId } from "./order-documents.ts";
import { rebuildHistory, rebuildPayments } from "./rebuild.ts";

/** The collections of this service, and how they are made anew from its database. */
export function orderProjections(postgres: Postgres, place: StorePlace): Projections {
  const history: Projections["history"] = documents({
    ...place,
    collection: "order_history",
    indexes: [["orderId", "version"]],
    rebuild: (progress) => rebuildHistory(postgres, history, progress),
  });
  const payments: Projections["payments"] = documents({
    ...place,
    collection: "payments",
    indexes: [["orderId"]],
    rebuild: (progress) => rebuildPayments(postgres, payments, progress),
  });
  return { history, payments };
}

/*
 * The ids follow from what a document tells, which says the same as the message's id as long as there are only
 * messages, and still holds after a rebuild from tables that do not know it: a message that comes late then
 * meets its own document.
 */
type OrderMessageType = MessageType & `order.${string}`;

/**
 * What of this service's own messages becomes documents; who watches an order is told when its history tells.
 * While the store is away, they wait.
 */
export function projectionHandlers({ history, payments }: Projections, live: Pick<Live, "tell">): Handlers {
  const remember: Handler<OrderMessageType> = {
    needs: history,
    async external({ type, time, data }) {
      await history.insert(historyDocument(type, time, data));
      live.tell("order.moved", { orderId: data.orderId, version: data.version });
    },
  };
  const receipt: Handler<"payment.received" | "payment.unmatched"> = {
    needs: payments,
    async external({ type, time, data }) {
      const { bankId, paymentId, orderId, amount, outcome } = data;
      const facts = { orderId, bankId, paymentId, amount, outcome, at: time };
      const document = { _id: receiptId(bankId, paymentId), kind: "receipt" as const, ...facts };
      // A payment that matched no order may have been assigned to one: that is the newer news of the two.
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
    "order.assigned",
    "order.released",
    "order.delivered",
    "order.failed",
    "order.cancelled",
    "order.expired",
  ];
  return {
    ...(Object.fromEntries(orderTypes.map((type) => [type, remember])) as Handlers),
    "payment.received": receipt,
    "payment.unmatched": receipt,
    "refund.completed": {
      needs: payments,
      async external({ time, data }) {
        const { refundId, orderId, bankId, paymentId, amount, reason } = data;
        const facts = { orderId, bankId, paymentId, amount, reason };
        await payments.insert({ _id: refundId, kind: "refund", ...facts, at: time });
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

/** An order's history out of the document store, the oldest first. */
export async function historyOf({ history }: Projections, orderId: string): Promise<HistoryEvent[]> {
  const found = await history.find({ query: { orderId }, sort: ["version"] });
  return found.map(({ _id, type, at, from, to, actor, reason, traceId, version }) =>
    omitUndefined({ id: _id, type, at, from, to, actor, reason, traceId, version }),
  );
}
