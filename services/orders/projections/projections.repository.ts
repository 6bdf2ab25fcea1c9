import type { HistoryEvent } from "../../../contracts/orders.ts";
import { type Db, rows } from "../../../lib/sql/database.ts";
import { TRANSITION } from "../store/order-lists.repository.ts";
import { RECEIPT, REFUND, type ReceiptRow, type RefundRow } from "../store/payments.repository.ts";

export type TransitionRow = HistoryEvent & { orderId: string };

/** The lines of all histories after an id, to rebuild the projection. */
export async function transitionsAfter(db: Db, id: string, limit: number): Promise<TransitionRow[]> {
  return rows(db, `${TRANSITION} WHERE id > ? ORDER BY id LIMIT ?`, [id, limit]);
}

export async function transitionsLike(
  db: Db,
  documents: readonly { orderId: string; version: number }[],
): Promise<TransitionRow[]> {
  const keys = JSON.stringify(documents.map(({ orderId, version }) => ({ orderId, version })));
  return rows(
    db,
    `${TRANSITION} WHERE (order_id, version) IN
       (SELECT "orderId", version FROM jsonb_to_recordset(?::jsonb) AS k("orderId" uuid, version integer))`,
    [keys],
  );
}

export async function receiptsAfter(db: Db, id: string, limit: number): Promise<ReceiptRow[]> {
  return rows(db, `${RECEIPT} WHERE id > ? ORDER BY id LIMIT ?`, [id, limit]);
}

export async function receiptsLike(
  db: Db,
  documents: readonly { bankId: string; paymentId: string }[],
): Promise<ReceiptRow[]> {
  const keys = JSON.stringify(documents.map(({ bankId, paymentId }) => ({ bankId, paymentId })));
  return rows(
    db,
    `${RECEIPT} WHERE (bank_id, payment_id) IN
       (SELECT "bankId", "paymentId" FROM jsonb_to_recordset(?::jsonb) AS k("bankId" uuid, "paymentId" text))`,
    [keys],
  );
}

export async function completedRefundsAfter(db: Db, id: string, limit: number): Promise<RefundRow[]> {
  return rows(
    db,
    `${REFUND} WHERE id > ? AND state = 'completed' AND order_id IS NOT NULL ORDER BY id LIMIT ?`,
    [id, limit],
  );
}

export async function completedRefunds(db: Db, ids: readonly string[]): Promise<RefundRow[]> {
  return rows(db, `${REFUND} WHERE id = ANY(?::uuid[]) AND state = 'completed'`, [ids]);
}
