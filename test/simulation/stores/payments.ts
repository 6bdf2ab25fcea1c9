import { omitUndefined } from "../../../lib/omit-undefined.ts";
import type { Outcome } from "../../../services/orders/domain/order-model.ts";
import type * as real from "../../../services/orders/store/payments.repository.ts";
import { statement } from "../memory.ts";
import type { View } from "../view.ts";
import type { SimulatedWrite } from "./idempotency.ts";
import type { OrderRecord } from "./orders.ts";

export * from "../../../services/orders/store/payments.repository.ts";

export interface ReceiptRecord {
  id: string;
  bankId: string;
  paymentId: string;
  orderId?: string;
  amountMinor: number;
  currency: string;
  outcome: Outcome;
  refundMinor: number;
  atMs: number;
}

export interface RefundRecord extends Omit<real.ClaimedRefund, "leaseId" | "state" | "traceparent"> {
  state: real.RefundState;
  nextAtMs: number;
  leaseToken?: string | undefined;
  error?: string | undefined;
  alerted?: boolean;
}

export const insertEvent: typeof real.insertEvent = (trx, event, orderId = "") =>
  statement(trx, (view) => {
    if (view.get<OrderRecord>("orders", orderId)?.bankId === event.bankId) view.locked("orders", orderId);
    const key = `${event.bankId}/${event.eventId}`;
    if (view.insert("payment_events", key, event)) return "new";
    const known = view.get<real.StoredEvent>("payment_events", key);
    return known?.bodyHash === event.bodyHash ? "known" : "mismatch";
  });

export const markEventUnusable: typeof real.markEventUnusable = (trx, bankId, eventId) =>
  statement(trx, (view) => {
    const key = `${bankId}/${eventId}`;
    const event = view.locked<real.StoredEvent>("payment_events", key);
    if (event) view.update("payment_events", key, { ...event, kind: "unusable" });
  });

export const insertReceipt: typeof real.insertReceipt = (
  trx,
  { amount, statedOrder: _, eventId: __, ...receipt },
) =>
  statement(trx, (view) =>
    view.insert("payment_receipts", `${receipt.bankId}/${receipt.paymentId}`, {
      ...receipt,
      ...amount,
      refundMinor: 0,
      atMs: view.nowMs,
    }),
  );

export const insertsOfPayment: typeof real.insertsOfPayment = (
  event,
  { amount, statedOrder, ...receipt },
) => {
  const apply = (view: View) => {
    const { eventId: _, ...row } = { ...receipt, orderId: statedOrder, ...amount };
    const isNew =
      view.insert("payment_events", `${event.bankId}/${event.eventId}`, event) &&
      view.insert("payment_receipts", `${event.bankId}/${receipt.paymentId}`, {
        ...row,
        refundMinor: 0,
        atMs: view.nowMs,
      });
    if (!isNew) throw Object.assign(new Error("duplicate key"), { code: "23505" });
  };
  return { sql: "", bindings: {}, apply } as SimulatedWrite;
};

export const findReceipt: typeof real.findReceipt = (db, bankId, paymentId) =>
  statement(db, (view) => view.get<ReceiptRecord>("payment_receipts", `${bankId}/${paymentId}`));

export const insertRefunds: typeof real.insertRefunds = async (trx, order, refunds) => {
  if (refunds.length === 0) return;
  await statement(trx, (view) => {
    for (const { id, paymentId, amount, reason } of refunds) {
      const key = `${order.bankId}/${paymentId}`;
      const receipt = view.locked<ReceiptRecord>("payment_receipts", key);
      if (!receipt) throw new Error("a refund names a payment that is not there");
      const refundMinor = receipt.refundMinor + amount.amountMinor;
      if (refundMinor > receipt.amountMinor) throw refused("refund_minor BETWEEN 0 AND amount_minor");
      view.update("payment_receipts", key, { ...receipt, refundMinor });
      const refund: RefundRecord = {
        ...{ id, orderId: order.id, bankId: order.bankId, paymentId, ...amount, reason },
        ...{ state: "pending", attempts: 0, nextAtMs: view.nowMs },
      };
      if (!view.insert("refunds", id, refund)) throw refused("refunds_pkey");
    }
  });
};

export const dueRefundBanks: typeof real.dueRefundBanks = (db) =>
  statement(db, (view) => {
    const due = view.all<RefundRecord>("refunds").map(([, one]) => one);
    return [...new Set(due.filter((one) => isDue(one, view.nowMs)).map(({ bankId }) => bankId))];
  });

export const claimRefunds: typeof real.claimRefunds = (db, { bankId, leaseId, leaseMs, limit }) =>
  statement(db, (view) =>
    view
      .all<RefundRecord>("refunds")
      .filter(([, one]) => one.bankId === bankId && isDue(one, view.nowMs))
      .sort(([, a], [, b]) => a.nextAtMs - b.nextAtMs)
      .filter(([id]) => view.lockedNow("refunds", id) !== undefined)
      .slice(0, limit)
      .map(([id, one]) => {
        const { state, nextAtMs: _, leaseToken: __, error: ___, alerted: ____, ...claimed } = one;
        const attempts = one.attempts + 1;
        const nextAtMs = view.nowMs + leaseMs;
        view.update("refunds", id, { ...one, state: "sent", leaseToken: leaseId, attempts, nextAtMs });
        const traceparent = view.get<OrderRecord>("orders", one.orderId ?? "")?.traceparent;
        const forgotten = view.world.faults.has("refund repeated on timeout");
        const before = forgotten ? "pending" : (state as real.ClaimedRefund["state"]);
        return { ...claimed, leaseId, attempts, state: before, ...(traceparent && { traceparent }) };
      }),
  );

export const releaseRefund: typeof real.releaseRefund = (db, { id, leaseId }, { state, delayMs, error }) =>
  statement(db, (view) => {
    const one = view.locked<RefundRecord>("refunds", id);
    if (!one || one.leaseToken !== leaseId) return false;
    const nextAtMs = view.nowMs + delayMs;
    view.update("refunds", id, { ...one, state, leaseToken: undefined, error, nextAtMs });
    return true;
  });

export const markRefundAlerted: typeof real.markRefundAlerted = (trx, id) =>
  statement(trx, (view) => {
    const one = view.locked<RefundRecord>("refunds", id);
    if (!one || one.alerted) return false;
    view.update("refunds", id, { ...one, alerted: true });
    return true;
  });

export const endRefund: typeof real.endRefund = (trx, id, { state, error, leaseId, bounced }) =>
  statement(trx, (view) => {
    const one = view.locked<RefundRecord>("refunds", id);
    const fits = bounced ? one?.state === "completed" : one && isOpen(one);
    if (!one || !fits || (leaseId !== undefined && one.leaseToken !== leaseId)) return undefined;
    view.update("refunds", id, { ...one, state, error, leaseToken: undefined });
    const key = `${one.bankId}/${one.paymentId}`;
    const receipt = view.locked<ReceiptRecord>("payment_receipts", key);
    if (!receipt) return undefined;
    if (state === "failed") {
      view.update("payment_receipts", key, {
        ...receipt,
        refundMinor: receipt.refundMinor - one.amountMinor,
      });
    }
    const { orderId, bankId, paymentId, amountMinor, currency, reason } = one;
    const counted = receipt.outcome !== "unmatched";
    return { id, orderId, bankId, paymentId, amountMinor, currency, reason, counted };
  });

export const findRefund: typeof real.findRefund = (db, bankId, refundId) =>
  statement(db, (view) => {
    const one = view.get<RefundRecord>("refunds", refundId);
    return one?.bankId === bankId ? omitUndefined({ id: one.id, orderId: one.orderId, bankId }) : undefined;
  });

function isDue(one: RefundRecord, nowMs: number): boolean {
  return isOpen(one) && one.nextAtMs <= nowMs;
}

function isOpen({ state }: RefundRecord): boolean {
  return state === "pending" || state === "sent" || state === "unknown";
}

function refused(constraint: string): Error {
  return Object.assign(new Error(`violates ${constraint}`), { code: "23514" });
}
