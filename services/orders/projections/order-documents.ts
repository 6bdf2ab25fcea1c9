import type { HistoryEvent } from "../../../contracts/orders.ts";
import { derivedId } from "../../../lib/ids.ts";
import type { Money } from "../../../lib/money.ts";
import type { Documents } from "../../../mixins/documents/documents.mixin.ts";
import type { Outcome } from "../domain/order-model.ts";

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
export const historyId = (orderId: string, version: number) =>
  derivedId("order_history", `${orderId}/${version}`);

/*
 * The ids follow from what a document tells, which says the same as the message's id as long as there are only
 * messages, and still holds after a rebuild from tables that do not know it: a message that comes late then
 * meets its own document.
 */
export const receiptId = (bankId: string, paymentId: string) =>
  derivedId("payments", `${bankId}/${paymentId}`);
