import type { Result } from "../../../contracts/actions.ts";
import { isoTime } from "../../../lib/clock.ts";
import { newId } from "../../../lib/ids.ts";
import { omitUndefined } from "../../../lib/omit-undefined.ts";
import type { Order } from "../../../services/orders/domain/order-model.ts";
import { nextPollAt, pollAfterPayment } from "../../../services/orders/domain/order-reconciliation.ts";
import type * as real from "../../../services/orders/store/orders.repository.ts";
import { statement } from "../memory.ts";
import type { View } from "../view.ts";
import type { SimulatedWrite } from "./idempotency.ts";
import { insertRows } from "./outbox.ts";
import type { ReceiptRecord } from "./payments.ts";

export * from "../../../services/orders/store/orders.repository.ts";

/** Columns besides the order, which no decision writes. */
interface Beside {
  traceparent?: string;
  checkoutRef?: string;
  reconcileAt?: string;
  reconcileLease?: string;
  paidAt?: string;
  deadlineFailures?: number;
  deadlineRetryAt?: string;
  deadlineError?: string;
}

export type OrderRecord = Omit<Order, "receipts"> & Beside;

export interface TransitionRecord {
  orderId: string;
  version: number;
  type: string;
  from?: string;
  to: string;
  actor: string;
}

export const findOrder: typeof real.findOrder = (db, id, viewer) =>
  statement(db, (view) => {
    const found = view.get<OrderRecord>("orders", id);
    return found && maySee(found, viewer) ? loadedOf(view, found) : undefined;
  });

export const lockOrder: typeof real.lockOrder = async (trx, id) => {
  await statement(trx, (view) => view.locked("orders", id));
};

export const insertOrder: typeof real.insertOrder = (trx, { next, transition }, messages, traceparent) =>
  statement(trx, (view) => {
    const { receipts: _, ...order } = next;
    const beside = omitUndefined({
      traceparent,
      reconcileAt: nextPollAt(order, Date.parse(order.createdAt)),
    });
    if (!view.insert("orders", next.id, { ...order, ...beside })) return false;
    insertRows(view, messages);
    if (transition) remember(view, next, transition.type, undefined, transition.to, transition.actor.name);
    return true;
  });

export const saveOrder: typeof real.saveOrder = (trx, before, decision, messages, inserts) =>
  statement(trx, (view) => {
    const { next, transition } = decision;
    const found = view.locked<OrderRecord>("orders", before.id);
    if (!found) return false;
    const guarded = found.version === before.version && found.status === before.status;
    if (!guarded && !view.world.faults.has("no version guard")) return false;
    const { receipts: _, checkoutUrl: __, ...order } = next;
    const poll = pollAfterPayment(decision);
    const { checkoutUrl, traceparent, checkoutRef } = found;
    const { paidAt = found.paidAt, pollAt: reconcileAt = found.reconcileAt } = poll ?? {};
    const beside = omitUndefined({ checkoutUrl, traceparent, checkoutRef, reconcileAt, paidAt });
    const early = view.world.faults.has("acceptance counts from the payment");
    const paidNow = before.status === "pending" && next.status === "paid";
    const counting = early && paidNow ? countingFrom(next) : {};
    view.update("orders", before.id, { ...order, ...beside, ...counting });
    (inserts as SimulatedWrite | undefined)?.apply(view);
    insertRows(view, messages);
    if (transition) {
      remember(view, next, transition.type, transition.from, transition.to, transition.actor.name);
    }
    return true;
  });

function countingFrom({ updatedAt, partner: { acceptanceMinutes = 10 } }: Order) {
  const deadlineAt = isoTime(Date.parse(updatedAt) + acceptanceMinutes * 60_000);
  return { partnerNotifiedAt: updatedAt, deadlineAt };
}

export const savingCheckoutUrl: typeof real.savingCheckoutUrl = (id, checkoutUrl, checkoutRef) => {
  const apply = (view: View) => {
    const found = view.locked<OrderRecord>("orders", id);
    if (found && !found.checkoutUrl) {
      view.update("orders", id, omitUndefined({ ...found, checkoutUrl, checkoutRef }));
    }
  };
  return { sql: "", bindings: {}, apply } as SimulatedWrite;
};

export const findPosition: typeof real.findPosition = (db, orderId) =>
  statement(db, (view) =>
    view.get<{ latitude: number; longitude: number; reportedAt: string; heardAt: string }>(
      "order_positions",
      orderId,
    ),
  );

export const nowAndNumber: typeof real.nowAndNumber = (db, partnerId, candidates, orderId) =>
  statement(db, (view) => {
    const taken = new Set(
      view
        .all<OrderRecord>("orders")
        .filter(([, { partner }]) => partner.id === partnerId)
        .map(([, { number }]) => number),
    );
    const number = candidates.find((one) => !taken.has(one));
    const isKnown = view.get("orders", orderId) !== undefined;
    return { nowMs: view.clockMs, isKnown, ...(number !== undefined && { number }) };
  });

export const databaseNowMs: typeof real.databaseNowMs = (db) => statement(db, (view) => view.clockMs);

export const insertCallback: typeof real.insertCallback = (trx, callback) =>
  statement(trx, (view) => {
    if (view.get<OrderRecord>("orders", callback.orderId)?.partner.id === callback.partnerId) {
      view.locked("orders", callback.orderId);
    }
    const key = `${callback.partnerId}/${callback.eventId}`;
    if (view.insert("partner_callbacks", key, callback)) return "new";
    const known = view.get<{ bodyHash: string }>("partner_callbacks", key);
    return known?.bodyHash === callback.bodyHash ? "known" : "mismatch";
  });

/** The answer of Orders to `orders.state`. */
export function stateIn(view: View, orderId: string): Result<"orders.state"> {
  const found = view.get<OrderRecord>("orders", orderId);
  return found ? { state: { status: found.status, version: found.version } } : {};
}

export function loadedOf(view: View, found: OrderRecord): real.LoadedOrder {
  const {
    traceparent,
    checkoutRef: _,
    reconcileAt: __,
    paidAt: ___,
    reconcileLease: _lease,
    ...rest
  } = found;
  const { deadlineFailures: ____, deadlineRetryAt: _____, deadlineError: ______, ...order } = rest;
  const receipts = view
    .all<ReceiptRecord>("payment_receipts")
    .filter(([, { orderId, outcome }]) => orderId === found.id && outcome !== "unmatched")
    .sort(([, a], [, b]) => (a.id < b.id ? -1 : 1))
    .map(([, { paymentId, amountMinor, refundMinor }]) => ({ paymentId, amountMinor, refundMinor }));
  if (view.world.faults.has("offered orders are free")) delete order.offerUntil;
  return { order: { ...order, receipts }, nowMs: view.clockMs, ...(traceparent && { traceparent }) };
}

function maySee(order: OrderRecord, viewer: real.Viewer): boolean {
  switch (viewer.role) {
    case "customer":
      return order.customer.id === viewer.id;
    case "partner":
      return order.partner.id === viewer.partnerId;
    case "deliverer":
      return order.delivererId === viewer.id || order.status === "ready";
    case "person":
      return (
        order.customer.id === viewer.id ||
        (viewer.carries === true && order.delivererId === viewer.id) ||
        order.partner.id === viewer.partnerId
      );
    case "bank":
      return order.bankId === viewer.bankId;
    case "anybody":
      return true;
  }
}

function remember(
  view: View,
  { id: orderId, version }: Order,
  type: string,
  from: string | undefined,
  to: string,
  actor: string,
) {
  const line: TransitionRecord = { orderId, version, type, to, actor, ...(from && { from }) };
  view.insert("order_transitions", newId(), line);
}
