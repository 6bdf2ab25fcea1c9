import type { PartnerCallback } from "../../../contracts/partners.ts";
import type { Position } from "../../../contracts/shared.ts";
import { newId } from "../../../lib/ids.ts";
import { affected, type Db, row } from "../../../lib/sql/database.ts";
import type { Decision, Order, Receipt } from "../domain/order-model.ts";
import { nextPollAt, paymentMarks } from "../domain/order-reconciliation.ts";
/** Who looks: it stands in the statement, so that what is not theirs is as if it were not there. */
export type Viewer =
  | { role: "customer" | "deliverer"; id: string }
  /** A person sees their own orders in any role, the orders that they carry, and their partner's. */
  | { role: "person"; id: string; carries?: boolean; partnerId?: string }
  | { role: "partner"; partnerId: string }
  | { role: "bank"; bankId: string }
  | { role: "anybody" };

export interface Loaded {
  order: Order;
  /** The database's clock, in milliseconds of Unix time. */
  nowMs: number;
  /** The trace that the order was confirmed in. */
  traceparent?: string;
}

const ORDER = `
  SELECT o.id, o.version, o.status, o.payment_status, o.customer_id, o.customer_name, o.customer_phone, o.partner,
    o.deliverer_id, o.currency, o.fee_minor, o.total_minor, o.paid_minor, o.refunded_minor, o.refund_pending_minor,
    o.refund_failed_minor, o.address, o.note, o.bank_id, o.checkout_url, o.pay_by, o.deadline_at, o.alerted_at,
    o.partner_notified_at,
    o.notice_problem, o.ready_at, o.ready_said_at, o.ready_since, o.closed_at, o.reason, o.handover_failures, o.proof_photo_id, o.last_move,
    o.last_actor, o.traceparent, o.created_at, o.updated_at, clock_timestamp() AS now,
    (SELECT json_agg(json_build_object('productId', l.product_id, 'title', l.title, 'quantity', l.quantity,
       'unitPrice', json_build_object('amountMinor', l.unit_price_minor, 'currency', o.currency))
       ORDER BY l.line_number)
     FROM order_lines l WHERE l.order_id = o.id) AS lines,
    (SELECT json_agg(json_build_object('paymentId', r.payment_id, 'amountMinor', r.amount_minor,
       'refundMinor', r.refund_minor) ORDER BY r.id)
     FROM payment_receipts r WHERE r.order_id = o.id AND r.outcome <> 'unmatched') AS receipts
  FROM orders o`;

/**
 * The condition is wrapped so that no index can serve it: the row is found by the primary key, whatever the
 * planner believes about the number of orders of a customer.
 */
function ownedBy(viewer: Viewer): { sql: string; bindings: string[] } {
  switch (viewer.role) {
    case "customer":
      return { sql: "(o.customer_id = ?) IS TRUE", bindings: [viewer.id] };
    case "person": {
      const { id, carries, partnerId } = viewer;
      const ways: [string, string][] = [["o.customer_id = ?", id]];
      if (carries) ways.push(["o.deliverer_id = ?", id]);
      if (partnerId) ways.push(["o.partner_id = ?", partnerId]);
      const sql = ways.map(([way]) => way).join(" OR ");
      return { sql: `(${sql}) IS TRUE`, bindings: ways.map(([, binding]) => binding) };
    }
    case "partner":
      return { sql: "(o.partner_id = ?) IS TRUE", bindings: [viewer.partnerId] };
    case "deliverer":
      return { sql: "(o.deliverer_id = ? OR o.status = 'ready') IS TRUE", bindings: [viewer.id] };
    case "bank":
      return { sql: "(o.bank_id = ?) IS TRUE", bindings: [viewer.bankId] };
    case "anybody":
      return { sql: "TRUE", bindings: [] };
  }
}

/** One order, or undefined when there is none of this id that the viewer may see. */
export async function findOrder(db: Db, id: string, viewer: Viewer): Promise<Loaded | undefined> {
  const owned = ownedBy(viewer);
  const found = await row<OrderRow>(db, `${ORDER} WHERE o.id = ? AND ${owned.sql}`, [id, ...owned.bindings]);
  return found && loaded(found);
}

/** Waits until nobody else changes the order, and keeps others waiting until the transaction ends. */
export async function lockOrder(trx: Db, id: string): Promise<void> {
  await row(trx, "SELECT id FROM orders WHERE id = ? FOR NO KEY UPDATE", [id]);
}

/** Inserts a confirmed order with its lines and the first line of its history; false when it is there already. */
export async function insertOrder(trx: Db, decision: Decision, traceparent?: string): Promise<boolean> {
  const { next: order, transition } = decision;
  const { customer, partner } = order;
  const count = await affected(
    trx,
    `WITH made AS (
       INSERT INTO orders (id, version, status, payment_status, customer_id, customer_name, customer_phone,
         partner_id, partner, pickup_latitude, pickup_longitude, currency, fee_minor, total_minor, address, note,
         bank_id, pay_by, deadline_at, reconcile_at, traceparent, created_at, updated_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?::jsonb, ?, ?, ?, ?, ?, ?::jsonb, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (id) DO NOTHING RETURNING id),
     lines AS (
       INSERT INTO order_lines (order_id, line_number, product_id, title, quantity, unit_price_minor)
       SELECT made.id, l.number, l."productId", l.title, l.quantity, (l."unitPrice" ->> 'amountMinor')::bigint
       FROM made, ROWS FROM (jsonb_to_recordset(?::jsonb) AS ("productId" uuid, title text, quantity integer,
         "unitPrice" jsonb)) WITH ORDINALITY AS l("productId", title, quantity, "unitPrice", number))
     INSERT INTO order_transitions (id, order_id, version, type, to_status, actor, trace_id, created_at)
     SELECT ?, made.id, 1, ?, ?, ?, ?, ? FROM made`,
    [
      ...[order.id, order.version, order.status, order.paymentStatus],
      ...[customer.id, customer.name, customer.phone ?? null],
      ...[partner.id, JSON.stringify(partner)],
      ...[partner.pickup.position?.latitude ?? null, partner.pickup.position?.longitude ?? null],
      ...[order.currency, order.feeMinor, order.totalMinor],
      ...[JSON.stringify(order.address), order.note ?? null, order.bankId, order.payBy],
      ...[order.deadlineAt ?? null, nextPollAt(order, Date.parse(order.createdAt)) ?? null],
      ...[traceparent ?? null, order.createdAt, order.updatedAt],
      JSON.stringify(order.lines),
      ...[newId(), transition?.type, order.status, transition?.actor.name],
      ...[transition?.actor.traceId ?? null, order.createdAt],
    ] as unknown[],
  );
  return count === 1;
}

/**
 * Writes what a decision made of an order, guarded by the state and version that it was decided on.
 * @returns false when the order has changed meanwhile: nothing was written
 */
export async function saveOrder(trx: Db, before: Order, decision: Decision): Promise<boolean> {
  const { next, transition } = decision;
  const marks = paymentMarks(decision);
  const update = `
    UPDATE orders SET version = ?, status = ?, payment_status = ?, deliverer_id = ?, paid_minor = ?,
      refunded_minor = ?, refund_pending_minor = ?, refund_failed_minor = ?, address = ?::jsonb, note = ?,
      deadline_at = ?, alerted_at = ?, partner_notified_at = ?, notice_problem = ?, ready_at = ?,
      ready_said_at = ?, ready_since = ?, closed_at = ?, reason = ?,
      handover_failures = ?, proof_photo_id = ?, last_move = ?, last_actor = ?, updated_at = ?,
      paid_at = coalesce(?, paid_at), reconcile_at = coalesce(?, reconcile_at),
      deadline_failures = 0, deadline_retry_at = NULL, deadline_error = NULL
    WHERE id = ? AND version = ? AND status = ?`;
  const bindings: unknown[] = [
    ...[next.version, next.status, next.paymentStatus, next.delivererId ?? null, next.paidMinor],
    ...[next.refundedMinor, next.refundPendingMinor, next.refundFailedMinor],
    ...[JSON.stringify(next.address), next.note ?? null, next.deadlineAt ?? null, next.alertedAt ?? null],
    ...[next.partnerNotifiedAt ?? null, next.noticeProblem ?? null],
    ...[
      next.readyAt ?? null,
      next.readySaidAt ?? null,
      next.readySince ?? null,
      next.closedAt ?? null,
      next.reason ?? null,
    ],
    ...[next.handoverFailures, next.proofPhotoId ?? null, next.lastMove ?? null, next.lastActor ?? null],
    ...[next.updatedAt, marks?.paidAt ?? null, marks?.lookAt ?? null],
    ...[before.id, before.version, before.status],
  ];
  if (!transition) return (await affected(trx, update, bindings)) === 1;
  const { type, from, to, actor, reason } = transition;
  const count = await affected(
    trx,
    `WITH saved AS (${update} RETURNING id, version)
     INSERT INTO order_transitions (id, order_id, version, type, from_status, to_status, actor, reason, trace_id,
       created_at)
     SELECT ?, id, version, ?, ?, ?, ?, ?, ?, ? FROM saved`,
    [
      ...bindings,
      ...[newId(), type, from ?? null, to, actor.name, reason ?? null, actor.traceId ?? null, next.updatedAt],
    ],
  );
  return count === 1;
}

/** Keeps the page that the bank opened. Guarded, so that of two confirmations at once both answer the same. */
export async function saveCheckoutUrl(
  trx: Db,
  id: string,
  checkoutUrl: string,
  reference?: string,
): Promise<void> {
  const sql = "UPDATE orders SET checkout_url = ?, checkout_ref = ? WHERE id = ? AND checkout_url IS NULL";
  await affected(trx, sql, [checkoutUrl, reference ?? null, id]);
}

/**
 * Keeps the last position of an order on its way: the newest by the deliverer's own clock, not the last to arrive.
 * @param fixAt when the device was there; absent, or in the future: now
 * @returns undefined unless this deliverer carries the order now, and this position is its newest
 */
export async function savePosition(
  db: Db,
  orderId: string,
  delivererId: string,
  { latitude, longitude }: Position,
  fixAt?: string,
): Promise<{ at: string } | undefined> {
  return row<{ at: string }>(
    db,
    `INSERT INTO order_positions AS p (order_id, deliverer_id, latitude, longitude, reported_at)
     SELECT o.id, o.deliverer_id, ?, ?, least(coalesce(?::timestamptz, now()), now()) FROM orders o
     WHERE o.id = ? AND (o.deliverer_id = ?) IS TRUE AND o.status = 'delivering'
     ON CONFLICT (order_id) DO UPDATE SET latitude = excluded.latitude, longitude = excluded.longitude,
       reported_at = excluded.reported_at, deliverer_id = excluded.deliverer_id, updated_at = now()
     WHERE p.deliverer_id IS DISTINCT FROM excluded.deliverer_id OR p.reported_at <= excluded.reported_at
     RETURNING p.reported_at AS at`,
    [latitude, longitude, fixAt ?? null, orderId, delivererId],
  );
}

export async function findPosition(
  db: Db,
  orderId: string,
): Promise<(Position & { reportedAt: string; heardAt: string }) | undefined> {
  const sql = `SELECT latitude, longitude, reported_at, updated_at AS heard_at FROM order_positions
    WHERE order_id = ?`;
  return row(db, sql, [orderId]);
}

export type OrderRow = Omit<Order, "customer" | "receipts"> & {
  customerId: string;
  customerName: string;
  customerPhone?: string;
  receipts?: Receipt[];
  traceparent?: string;
  now: string;
};

/** The order out of its row. */
export function loaded(found: OrderRow): Loaded {
  const { customerId, customerName, customerPhone, receipts = [], traceparent, now, ...order } = found;
  const customer = { id: customerId, name: customerName, ...(customerPhone && { phone: customerPhone }) };
  return {
    order: { ...order, customer, receipts },
    nowMs: Date.parse(now),
    ...(traceparent && { traceparent }),
  };
}

export { ORDER as ORDER_SELECT };

/** The database's clock, in milliseconds of Unix time: the one clock that deadlines are counted by. */
export async function databaseNowMs(db: Db): Promise<number> {
  const found = await row<{ now: string }>(db, "SELECT clock_timestamp() AS now");
  return Date.parse(found?.now as string);
}

/** `known`: it came before, word for word. `mismatch`: it came before with another body. */
export async function insertCallback(
  trx: Db,
  callback: PartnerCallback,
): Promise<"new" | "known" | "mismatch"> {
  const { partnerId, eventId, bodyHash } = callback;
  const count = await affected(
    trx,
    `INSERT INTO partner_callbacks (partner_id, event_id, body_hash, type, order_id, reason, ready_at)
     VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (partner_id, event_id) DO NOTHING`,
    [
      ...[partnerId, eventId, bodyHash, callback.type, callback.orderId],
      ...[callback.reason ?? null, callback.readyAt ?? null],
    ],
  );
  if (count === 1) return "new";
  const sql = "SELECT body_hash FROM partner_callbacks WHERE partner_id = ? AND event_id = ?";
  const known = await row<{ bodyHash: string }>(trx, sql, [partnerId, eventId]);
  return known?.bodyHash === bodyHash ? "known" : "mismatch";
}
