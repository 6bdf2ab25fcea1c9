import type { Message, MessageData, MessageType } from "../../contracts/messages.ts";
import type { HistoryEvent } from "../../contracts/orders.ts";
import { derivedId } from "../../lib/ids.ts";
import type { Money } from "../../lib/money.ts";
import { present } from "../../lib/present.ts";
import type { Handler, Handlers } from "../../mixins/consumer/handlers.ts";
import type { Documents } from "../../mixins/documents/documents.mixin.ts";
import type { Postgres } from "../../mixins/postgres/postgres.mixin.ts";
import { transitionsAfter } from "./lists.repository.ts";
import type { Live } from "./live.ts";
import type { Outcome } from "./order-messages.ts";
import { completedRefundsAfter, receiptsAfter } from "./payments.repository.ts";

const REBUILD_BATCH = 500;
const BEFORE_ALL = "00000000-0000-0000-0000-000000000000";

/** One line of an order's history, as people read it. */
export interface HistoryDocument extends Omit<HistoryEvent, "id"> {
  readonly _id: string;
  orderId: string;
}

/** Money that came or went back. */
export interface PaymentDocument {
  readonly _id: string;
  kind: "receipt" | "refund";
  orderId?: string;
  bankId: string;
  paymentId: string;
  amount: Money;
  outcome?: Outcome;
  reason?: string;
  at: string;
}

export interface Projections {
  history: Documents<HistoryDocument>;
  payments: Documents<PaymentDocument>;
}

/*
 * The ids follow from what a document tells, which says the same as the message's id as long as there are only
 * messages, and still holds after a rebuild from tables that do not know it: a message that comes late then
 * meets its own document.
 */
const historyId = (orderId: string, version: number) => derivedId("order_history", `${orderId}/${version}`);
const receiptId = (bankId: string, paymentId: string) => derivedId("payments", `${bankId}/${paymentId}`);

type OrderMessageType = MessageType & `order.${string}`;

/** What of this service's own messages becomes documents; who watches an order is told when its history tells. */
export function projectionHandlers({ history, payments }: Projections, live: Pick<Live, "tell">): Handlers {
  const remember: Handler<OrderMessageType> = {
    async apply(_trx, { type, time, data }) {
      await history.insert(historyDocument(type, time, data));
      live.tell("order.moved", { orderId: data.orderId, version: data.version });
    },
  };
  const receipt = {
    async apply(_trx: unknown, { time, data }: Message<"payment.received" | "payment.unmatched">) {
      const { bankId, paymentId, orderId, amount, outcome } = data;
      await payments.insert(
        present({
          _id: receiptId(bankId, paymentId),
          kind: "receipt" as const,
          orderId,
          bankId,
          paymentId,
          amount,
          outcome,
          at: time,
        }),
      );
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
      async apply(_trx, { time, data }) {
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
  return present({ ...document, version });
}

/** An order's history out of the document store, the oldest first. */
export async function historyOf({ history }: Projections, orderId: string): Promise<HistoryEvent[]> {
  const found = await history.find({ query: { orderId }, sort: ["version"] });
  return found.map(({ _id, type, at, from, to, actor, reason, traceId, version }) =>
    present({ id: _id, type, at, from, to, actor, reason, traceId, version }),
  );
}

/** Makes the history of all orders anew from PostgreSQL. @returns how many documents it holds now */
export async function rebuildHistory(postgres: Postgres, { history }: Projections): Promise<number> {
  await history.clear();
  await everything(
    (after) => transitionsAfter(postgres.db, after, REBUILD_BATCH),
    ({ id: _, ...event }) => history.insert({ _id: historyId(event.orderId, event.version), ...event }),
  );
  return history.count();
}

/** Makes the receipts and refunds anew from PostgreSQL. @returns how many documents there are now */
export async function rebuildPayments(postgres: Postgres, { payments }: Projections): Promise<number> {
  await payments.clear();
  await everything(
    (after) => receiptsAfter(postgres.db, after, REBUILD_BATCH),
    ({ bankId, paymentId, orderId, amountMinor, currency, outcome, at }) => {
      const amount = { amountMinor, currency };
      const facts = present({ kind: "receipt" as const, orderId, bankId, paymentId, amount, outcome, at });
      return payments.insert({ _id: receiptId(bankId, paymentId), ...facts });
    },
  );
  await everything(
    (after) => completedRefundsAfter(postgres.db, after, REBUILD_BATCH),
    ({ id, orderId, bankId, paymentId, amountMinor, currency, reason, at }) => {
      const amount = { amountMinor, currency };
      return payments.insert({ _id: id, kind: "refund", orderId, bankId, paymentId, amount, reason, at });
    },
  );
  return payments.count();
}

async function everything<R extends { id: string }>(
  batchAfter: (id: string) => Promise<R[]>,
  work: (row: R) => Promise<void>,
): Promise<void> {
  let after: string | undefined = BEFORE_ALL;
  while (after !== undefined) {
    const batch: R[] = await batchAfter(after);
    for (const row of batch) await work(row);
    after = batch.at(-1)?.id;
  }
}
