import type { disputeState } from "../../../contracts/payments.ts";
import type { Infer } from "../../../contracts/schema.ts";
import { newId } from "../../../lib/ids.ts";
import { type Db, type Rows, row, rows } from "../../../lib/sql/database.ts";
import type { Dispute } from "../../../providers/banks/index.ts";

export interface DisputeRow {
  id: string;
  disputeId: string;
  bankId: string;
  paymentId: string;
  orderId?: string;
  amountMinor: number;
  currency: string;
  reason: string;
  state: Infer<typeof disputeState>;
  withdrawn: boolean;
  reportedAt: string;
}

const COLUMNS = `id, dispute_id, bank_id, payment_id, order_id, amount_minor, currency, reason, state, withdrawn,
  reported_at`;

/**
 * Stores the newest report of a dispute by the bank's time, because reports may arrive in any order. An ended dispute
 * does not open again.
 * @returns undefined if nothing has changed
 */
export async function saveDispute(
  trx: Db,
  bankId: string,
  { amount, ...dispute }: Dispute,
): Promise<DisputeRow | undefined> {
  return row(
    trx,
    `INSERT INTO disputes AS d (id, bank_id, dispute_id, payment_id, order_id, amount_minor, currency, reason, state,
       withdrawn, reported_at)
     VALUES (:id, :bankId, :disputeId, :paymentId,
       (SELECT order_id FROM payment_receipts WHERE bank_id = :bankId AND payment_id = :paymentId),
       :amountMinor, :currency, :reason, :state, :withdrawn, :at)
     ON CONFLICT (bank_id, dispute_id) DO UPDATE SET amount_minor = excluded.amount_minor, reason = excluded.reason,
       order_id = coalesce(d.order_id, excluded.order_id), state = excluded.state, withdrawn = excluded.withdrawn,
       reported_at = excluded.reported_at, updated_at = now()
     WHERE excluded.reported_at >= d.reported_at AND (d.state = 'open' OR excluded.state <> 'open')
       AND (d.state, d.withdrawn, d.amount_minor) IS DISTINCT FROM
         (excluded.state, excluded.withdrawn, excluded.amount_minor)
     RETURNING ${COLUMNS}`,
    { id: newId(), bankId, ...dispute, ...amount },
  );
}

/** The newest first. */
export async function disputesBefore(
  db: Db,
  { before, limit }: { before?: string | undefined; limit: number },
): Promise<Rows<DisputeRow>> {
  const where = before ? "WHERE id < ?" : "";
  const sql = `SELECT ${COLUMNS} FROM disputes ${where} ORDER BY id DESC LIMIT ?`;
  return rows(db, sql, [...(before ? [before] : []), limit]);
}

export async function disputesOf(db: Db, orderId: string): Promise<DisputeRow[]> {
  return rows(db, `SELECT ${COLUMNS} FROM disputes WHERE order_id = ? ORDER BY id`, [orderId]);
}
