import type { Knex } from "knex";
import type { Params, Result } from "../../contracts/actions.ts";
import { alert } from "../../contracts/alerts.ts";
import type { Ctx } from "../../contracts/meta.ts";
import { decimalText } from "../../lib/money.ts";
import { callerOf } from "../../mixins/caller/caller.ts";
import type { Dispute } from "../../providers/banks/index.ts";
import type { OrdersDeps } from "./deps.ts";
import { type DisputeRow, disputesBefore, saveDispute } from "./disputes.repository.ts";
import { beforeOf, pageOf } from "./pages.ts";

/** Saves the bank's report of a dispute, apart from the order's sums, and alerts operators of each change. */
export async function disputeReported(
  { outbox }: Pick<OrdersDeps, "outbox">,
  trx: Knex.Transaction,
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

export async function listDisputes(
  { postgres }: OrdersDeps,
  ctx: Ctx<Params<"orders.listDisputes">>,
): Promise<Result<"orders.listDisputes">> {
  callerOf(ctx, "admin");
  const { cursor, limit } = ctx.params;
  return pageOf(
    (more) => disputesBefore(postgres.db, { before: beforeOf(cursor), limit: more }),
    limit,
    disputeView,
  );
}

export function disputeView({ amountMinor, currency, ...dispute }: DisputeRow) {
  return { ...dispute, amount: { amountMinor, currency } };
}
