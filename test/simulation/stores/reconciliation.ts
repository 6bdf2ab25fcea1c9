import { isoTime } from "../../../lib/clock.ts";
import { omitUndefined } from "../../../lib/omit-undefined.ts";
import type { Lease } from "../../../lib/sql/leased-queue.ts";
import type * as real from "../../../services/orders/store/reconciliation.repository.ts";
import { statement } from "../memory.ts";
import type { View } from "../view.ts";
import type { OrderRecord } from "./orders.ts";
import type { ReceiptRecord, RefundRecord } from "./payments.ts";

export * from "../../../services/orders/store/reconciliation.repository.ts";

interface ContactRecord {
  failures: number;
  silentSince?: string;
  retryAtMs?: number;
  alerted: boolean;
}

const CONTACTS = "bank_contacts";

function lacksPayment({ status }: OrderRecord): boolean {
  return status === "pending" || status === "cancelled" || status === "expired";
}

function isDue({ world, nowMs }: View, order: OrderRecord): boolean {
  const { paidAt, reconcileAt } = order;
  const forgotten = world.faults.has("paid orders are not polled");
  const askable = lacksPayment(order) || (paidAt !== undefined && !forgotten);
  return askable && reconcileAt !== undefined && Date.parse(reconcileAt) <= nowMs;
}

export const dueBanks: typeof real.dueBanks = (db) =>
  statement(db, (view) => {
    const due = view.all<OrderRecord>("orders").filter(([, order]) => isDue(view, order));
    return [...new Set(due.map(([, { bankId }]) => bankId))].flatMap((id) => {
      const contact = view.get<ContactRecord>(CONTACTS, id);
      return (contact?.retryAtMs ?? 0) <= view.nowMs ? [{ id, failures: contact?.failures ?? 0 }] : [];
    });
  });

export const claimPolls: typeof real.claimPolls = (db, { bankId, leaseId, leaseMs, limit }) =>
  statement(db, (view) =>
    view
      .all<OrderRecord>("orders")
      .filter(([, order]) => order.bankId === bankId && isDue(view, order))
      .sort(([, a], [, b]) => Number(lacksPayment(b)) - Number(lacksPayment(a)))
      .filter(([id]) => view.lockedNow("orders", id) !== undefined)
      .slice(0, limit)
      .map(([id, order]) => {
        const reconcileAt = isoTime(view.nowMs + leaseMs);
        view.update("orders", id, { ...order, reconcileAt, reconcileLease: leaseId });
        const { status, createdAt, checkoutRef, paidAt } = order;
        return { id, leaseId, status, createdAt, ...omitUndefined({ checkoutRef, paidAt }) };
      }),
  );

export const endPoll: typeof real.endPoll = async (db, look, { nextAt }) => {
  await statement(db, (view) => change(view, look, nextAt));
};

export const postponePoll: typeof real.postponePoll = async (db, look, delayMs) => {
  await statement(db, (view) => change(view, look, isoTime(view.nowMs + delayMs)));
};

export const bookedPayments: typeof real.bookedPayments = (db, orderId) =>
  statement(db, (view) => {
    const refunds = view.all<RefundRecord>("refunds").map(([, one]) => one);
    return view
      .all<ReceiptRecord>("payment_receipts")
      .filter(([, receipt]) => receipt.orderId === orderId)
      .map(([, { paymentId, amountMinor, currency, atMs }]) => {
        const sum = (...states: string[]) =>
          refunds
            .filter((one) => one.paymentId === paymentId && states.includes(one.state))
            .reduce((all, one) => all + one.amountMinor, 0);
        return {
          ...{ paymentId, amount: { amountMinor, currency }, at: isoTime(atMs) },
          refundedMinor: sum("completed"),
          refundOpenMinor: sum("pending", "sent", "unknown"),
        };
      });
  });

export const recordBankAnswer: typeof real.recordBankAnswer = (db, bankId) =>
  statement(db, (view) => {
    const before = view.locked<ContactRecord>(CONTACTS, bankId);
    const row: ContactRecord = { failures: 0, alerted: false };
    if (!view.insert(CONTACTS, bankId, row)) view.update(CONTACTS, bankId, row);
    return { wasSilent: (before?.failures ?? 0) > 0, answeredAt: isoTime(view.nowMs) };
  });

export const recordBankFailure: typeof real.recordBankFailure = (db, bankId, { delayMs }) =>
  statement(db, (view) => {
    const before = view.locked<ContactRecord>(CONTACTS, bankId);
    const row: ContactRecord = {
      failures: (before?.failures ?? 0) + 1,
      silentSince: before?.silentSince ?? isoTime(view.nowMs),
      retryAtMs: view.nowMs + delayMs,
      alerted: before?.alerted ?? false,
    };
    if (!view.insert(CONTACTS, bankId, row)) view.update(CONTACTS, bankId, row);
    return row.failures;
  });

export const markBankAlerted: typeof real.markBankAlerted = (db, bankId, afterMs) =>
  statement(db, (view) => {
    const found = view.locked<ContactRecord>(CONTACTS, bankId);
    if (!found?.silentSince || found.alerted) return undefined;
    if (Date.parse(found.silentSince) > view.nowMs - afterMs) return undefined;
    view.update(CONTACTS, bankId, { ...found, alerted: true });
    return found.silentSince;
  });

function change(
  view: View,
  { id, leaseId, paidAt }: Lease & { paidAt?: string },
  reconcileAt: string | undefined,
): void {
  const found = view.locked<OrderRecord>("orders", id);
  if (found?.reconcileLease !== leaseId) return;
  const { reconcileAt: leasedUntil, reconcileLease: _, ...order } = found;
  // An order that was paid meanwhile has the time of its next poll from the payment.
  const next = found.paidAt === paidAt ? reconcileAt : leasedUntil;
  view.update("orders", id, next ? { ...order, reconcileAt: next } : order);
}
