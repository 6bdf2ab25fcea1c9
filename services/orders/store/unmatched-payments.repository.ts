import { affected, type Db, type Rows, row, rows } from "../../../lib/sql/database.ts";
import type { Outcome, Refund } from "../domain/order-model.ts";
import type { RefundState } from "./payments.repository.ts";

export interface ReceivedPayment {
  id: string;
  bankId: string;
  paymentId: string;
  eventId: string;
  orderId?: string;
  statedOrder: string;
  amountMinor: number;
  currency: string;
  outcome: Outcome;
  refundMinor: number;
  at: string;
}

export interface UnmatchedRow extends ReceivedPayment {
  refundId?: string;
  refundState?: RefundState;
  refundError?: string;
}

const RECEIVED = `r.id, r.bank_id, r.payment_id, r.event_id, r.order_id, r.stated_order, r.amount_minor, r.currency, r.outcome,
  r.refund_minor, r.created_at AS at`;

/** Payments that match no order and were not refunded, the newest first, each with its newest refund. */
export async function unmatchedPayments(
  db: Db,
  { before, limit }: { before?: string | undefined; limit: number },
): Promise<Rows<UnmatchedRow>> {
  return rows(
    db,
    `SELECT ${RECEIVED}, f.id AS refund_id, f.state AS refund_state, f.error AS refund_error
     FROM payment_receipts r LEFT JOIN LATERAL (
       SELECT id, state, error FROM refunds f
       WHERE f.bank_id = r.bank_id AND f.payment_id = r.payment_id ORDER BY created_at DESC, id DESC LIMIT 1) f ON true
     WHERE r.outcome = 'unmatched' AND f.state IS DISTINCT FROM 'completed' ${before ? "AND r.id < ?" : ""}
     ORDER BY r.id DESC LIMIT ?`,
    [...(before ? [before] : []), limit],
  );
}

/** Locks a payment until the transaction ends. */
export async function lockReceipt(trx: Db, id: string): Promise<ReceivedPayment | undefined> {
  return row(trx, `SELECT ${RECEIVED} FROM payment_receipts r WHERE r.id = ? FOR UPDATE`, [id]);
}

/** Assigns an unmatched payment to an order. @returns false if it is assigned already or has a refund */
export async function assignReceipt(
  trx: Db,
  id: string,
  { orderId, outcome }: { orderId: string; outcome: Outcome },
): Promise<boolean> {
  const sql = `UPDATE payment_receipts SET order_id = ?, outcome = ?, updated_at = now()
    WHERE id = ? AND outcome = 'unmatched' AND refund_minor = 0`;
  return (await affected(trx, sql, [orderId, outcome, id])) === 1;
}

export interface FoundRefund extends Pick<Refund, "reason" | "borneBy"> {
  id: string;
  orderId?: string;
  bankId: string;
  paymentId: string;
  amountMinor: number;
  currency: string;
  state: RefundState;
  /** The id of its payment. */
  receiptId: string;
  outcome: Outcome;
}

export async function findAnyRefund(db: Db, id: string): Promise<FoundRefund | undefined> {
  return row(
    db,
    `SELECT f.id, f.order_id, f.bank_id, f.payment_id, f.amount_minor, f.currency, f.state, f.reason, f.borne_by,
       r.id AS receipt_id, r.outcome
     FROM refunds f JOIN payment_receipts r USING (bank_id, payment_id) WHERE f.id = ?`,
    [id],
  );
}
