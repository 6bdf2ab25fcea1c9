import type { HistoryEvent } from "../../../contracts/orders.ts";
import { derivedId } from "../../../lib/ids.ts";
import type { Money } from "../../../lib/money.ts";
import type { Documents } from "../../../mixins/documents/documents.mixin.ts";
import type { Outcome } from "../domain/order-model.ts";

/** One line of an order's history. */
export interface HistoryDocument extends Omit<HistoryEvent, "id"> {
  readonly _id: string;
  orderId: string;
}

/** A payment or a refund. */
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
 * The ids are derived from the documents' content and not from the messages' ids, which the tables do not contain: so a
 * document has the same id after a rebuild, and a late message finds it.
 */
export const historyId = (orderId: string, version: number) =>
  derivedId("order_history", `${orderId}/${version}`);

export const receiptId = (bankId: string, paymentId: string) =>
  derivedId("payments", `${bankId}/${paymentId}`);
