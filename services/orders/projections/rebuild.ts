import { omitUndefined } from "../../../lib/omit-undefined.ts";
import { batchesById, reconcile } from "../../../mixins/documents/reconcile.ts";
import type { Postgres } from "../../../mixins/postgres/postgres.mixin.ts";
import type { ReceiptRow, RefundRow } from "../store/payments.repository.ts";
import {
  type HistoryDocument,
  historyId,
  type PaymentDocument,
  type Projections,
  receiptId,
} from "./order-documents.ts";
import * as repository from "./projections.repository.ts";

/** A document has the time of its message and a row that of its transaction. Up to this difference, both are correct. */
const TIME_TOLERANCE_MS = 60_000;

/** Rebuilds the history of all orders from PostgreSQL. @returns the number of documents */
export async function rebuildHistory(
  postgres: Postgres,
  history: Projections["history"],
  progress?: (documents: number) => void,
): Promise<number> {
  return reconcile(
    history,
    {
      async of(documents) {
        const found = await repository.transitionsLike(postgres.db, documents);
        return withTimesOf(documents, found.map(historyDocument));
      },
      async *all() {
        const batches = batchesById((after, limit) => repository.transitionsAfter(postgres.db, after, limit));
        for await (const batch of batches) yield batch.map(historyDocument);
      },
    },
    progress,
  );
}

/** Rebuilds the receipts and refunds from PostgreSQL. @returns the number of documents */
export async function rebuildPayments(
  postgres: Postgres,
  payments: Projections["payments"],
  progress?: (documents: number) => void,
): Promise<number> {
  return reconcile(
    payments,
    {
      async of(documents) {
        const ofKind = (kind: PaymentDocument["kind"]) =>
          documents.filter((document) => document.kind === kind);
        const refundIds = ofKind("refund").map(({ _id }) => _id);
        const [receipts, refunds] = await Promise.all([
          repository.receiptsLike(postgres.db, ofKind("receipt")),
          repository.completedRefunds(postgres.db, refundIds),
        ]);
        return withTimesOf(documents, [...receipts.map(receiptDocument), ...refunds.map(refundDocument)]);
      },
      async *all() {
        const receipts = batchesById((after, limit) => repository.receiptsAfter(postgres.db, after, limit));
        for await (const batch of receipts) yield batch.map(receiptDocument);
        const refunds = batchesById((after, limit) =>
          repository.completedRefundsAfter(postgres.db, after, limit),
        );
        for await (const batch of refunds) yield batch.map(refundDocument);
      },
    },
    progress,
  );
}

function historyDocument({ id: _, ...event }: repository.TransitionRow): HistoryDocument {
  return { _id: historyId(event.orderId, event.version), ...event };
}

function receiptDocument(row: ReceiptRow): PaymentDocument {
  const { bankId, paymentId, orderId, amountMinor, currency, outcome, at } = row;
  const amount = { amountMinor, currency };
  const values = { kind: "receipt" as const, orderId, bankId, paymentId, amount, outcome, at };
  return omitUndefined({ _id: receiptId(bankId, paymentId), ...values });
}

function refundDocument(row: RefundRow): PaymentDocument {
  const { id, orderId, bankId, paymentId, amountMinor, currency, reason, at } = row;
  const amount = { amountMinor, currency };
  return { _id: id, kind: "refund", orderId, bankId, paymentId, amount, reason, at };
}

/** Takes over the times of the stored documents into the rebuilt ones, if they differ only within the tolerance. */
function withTimesOf<D extends { _id: string; at: string }>(stored: readonly D[], rebuilt: D[]): D[] {
  const times = new Map(stored.map(({ _id, at }) => [_id, at]));
  return rebuilt.map((document) => {
    const at = times.get(document._id) ?? document.at;
    const differenceMs = Math.abs(Date.parse(at) - Date.parse(document.at));
    return differenceMs <= TIME_TOLERANCE_MS ? { ...document, at } : document;
  });
}
