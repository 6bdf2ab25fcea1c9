import { alert } from "../../../contracts/alerts.ts";
import { decimalText } from "../../../lib/money.ts";
import type { Transaction } from "../../../lib/sql/database.ts";
import type { Dispute } from "../../../providers/banks/index.ts";
import type { OrdersDependencies } from "../dependencies.ts";
import { saveDispute } from "../store/disputes.repository.ts";

/** Saves the bank's report of a dispute and alerts operators of each change. The order's sums stay unchanged. */
export async function recordDispute(
  { outbox }: Pick<OrdersDependencies, "outbox">,
  trx: Transaction,
  bankId: string,
  dispute: Dispute,
): Promise<void> {
  const saved = await saveDispute(trx, bankId, dispute);
  if (!saved) return;
  const { paymentId, orderId, state, withdrawn, reason } = saved;
  const sum = `${decimalText(dispute.amount)} ${dispute.amount.currency}`;
  const money = withdrawn ? "the bank has taken the money" : "the money is still ours";
  const detail = `Payment ${paymentId} at bank ${bankId} for ${orderId ? `order ${orderId}` : "no order of ours"} is disputed (${reason}) over ${sum}: ${state}, ${money}.`;
  await outbox.add(trx, [
    alert("payment.disputed", detail, { subject: dispute.disputeId, under: orderId ?? bankId }),
  ]);
}
