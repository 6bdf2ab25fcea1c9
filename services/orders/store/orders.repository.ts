import type { PartnerCallback } from "../../../contracts/partners.ts";
import type { Position } from "../../../contracts/shared.ts";
import { newId } from "../../../lib/ids.ts";
import { affected, type Db, row, type Write } from "../../../lib/sql/database.ts";
import { insertOfMessages } from "../../../mixins/outbox/outbox.repository.ts";
import type { Decision, Order, Receipt } from "../domain/order-model.ts";
import { nextPollAt, pollAfterPayment } from "../domain/order-reconciliation.ts";

/** The reader of an order. It becomes a condition of the statement, so that other orders are not found. */
export type Viewer =
  | { role: "customer" | "deliverer"; id: string }
  /** A person sees their own orders, the orders that they deliver, and the orders of their partner. */
  | { role: "person"; id: string; carries?: boolean; partnerId?: string }
  | { role: "partner"; partnerId: string }
  | { role: "bank"; bankId: string }
  | { role: "anybody" };

/** The viewer of a caller who reads orders. */
export type Reader = Extract<Viewer, { role: "person" | "anybody" }>;

export interface LoadedOrder {
  order: Order;
  /** The database's clock, in milliseconds of Unix time. */
  nowMs: number;
  /** The trace that the order was confirmed in. */
  traceparent?: string;
}

/** Version 0.1 stored the move `fail` as `giveUp`. */
const LAST_MOVE = "CASE o.last_move WHEN 'giveUp' THEN 'fail' ELSE o.last_move END";

/** The lines of the order `o`. */
export const LINES = `
  (SELECT json_agg(json_build_object('productId', l.product_id, 'title', l.title, 'quantity', l.quantity,
     'unitPrice', json_build_object('amountMinor', l.unit_price_minor, 'currency', o.currency))
     ORDER BY l.line_number)
   FROM order_lines l WHERE l.order_id = o.id)`;

const ORDER = `
  SELECT o.id, o.number, o.version, o.status, o.payment_status, o.customer_id, o.customer_name, o.customer_phone, o.partner,
    o.deliverer_id, o.currency, o.fee_minor, o.total_minor, o.paid_minor, o.refunded_minor, o.refund_pending_minor,
    o.refund_failed_minor, o.address, o.note, o.bank_id, o.checkout_url, o.pay_by, o.deadline_at, o.alerted_at,
    o.partner_notified_at, o.notice_problem, o.ready_at, o.ready_said_at, o.ready_since, o.picked_up_at, o.offered_to, o.offer_until, o.offers_tried, o.pooled_at, o.closed_at, o.reason, o.rejection,
    o.handover_failures, o.proof_photo_id, ${LAST_MOVE} AS last_move, o.last_actor, o.traceparent, o.created_at, o.updated_at, clock_timestamp() AS now,
    ${LINES} AS lines,
    (SELECT json_agg(json_build_object('paymentId', r.payment_id, 'amountMinor', r.amount_minor,
       'refundMinor', r.refund_minor) ORDER BY r.id)
     FROM payment_receipts r WHERE r.order_id = o.id AND r.outcome <> 'unmatched') AS receipts
  FROM orders o`;

/**
 * `IS TRUE` prevents the use of an index for this condition: PostgreSQL must always find the row by its primary key,
 * independent of its statistics.
 */
function ownedBy(viewer: Viewer): { sql: string; bindings: string[] } {
  switch (viewer.role) {
    case "customer":
      return { sql: "(o.customer_id = ?) IS TRUE", bindings: [viewer.id] };
    case "person": {
      const { id, carries, partnerId } = viewer;
      const alternatives: [string, string][] = [["o.customer_id = ?", id]];
      if (carries) alternatives.push(["o.deliverer_id = ?", id]);
      if (partnerId) alternatives.push(["o.partner_id = ?", partnerId]);
      const sql = alternatives.map(([condition]) => condition).join(" OR ");
      return { sql: `(${sql}) IS TRUE`, bindings: alternatives.map(([, binding]) => binding) };
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

/** The order, or undefined if there is none with this id that the viewer may see. */
export async function findOrder(db: Db, id: string, viewer: Viewer): Promise<LoadedOrder | undefined> {
  const owned = ownedBy(viewer);
  const found = await row<OrderRow>(db, `${ORDER} WHERE o.id = ? AND ${owned.sql}`, [id, ...owned.bindings]);
  return found && orderFromRow(found);
}

/** Locks the order until the transaction ends. Waits for other transactions that have locked it. */
export async function lockOrder(trx: Db, id: string): Promise<void> {
  await row(trx, "SELECT id FROM orders WHERE id = ? FOR NO KEY UPDATE", [id]);
}

/**
 * Inserts an order with its lines, the first line of its history and its messages.
 * @param messages the rows of the outbox
 * @returns false if the order exists already
 * @throws the database's error 23505 with the constraint `NUMBER_KEY` if a concurrent order of the partner has its number
 */
export async function insertOrder(
  db: Db,
  decision: Decision,
  messages: string,
  traceparent?: string,
): Promise<boolean> {
  const { next: order, transition } = decision;
  const { customer, partner } = order;
  const count = await affected(
    db,
    `WITH made AS (
       INSERT INTO orders (id, number, version, status, payment_status, customer_id, customer_name, customer_phone,
         partner_id, partner, pickup_latitude, pickup_longitude, currency, fee_minor, total_minor, address, note,
         bank_id, pay_by, deadline_at, reconcile_at, traceparent, created_at, updated_at)
       VALUES (:id, :number, :version, :status, :paymentStatus, :customerId, :customerName, :customerPhone,
         :partnerId, :partner::jsonb, :pickupLatitude, :pickupLongitude, :currency, :feeMinor, :totalMinor,
         :address::jsonb, :note, :bankId, :payBy, :deadlineAt, :pollAt, :traceparent, :createdAt, :updatedAt)
       ON CONFLICT (id) DO NOTHING RETURNING id),
     lines AS (
       INSERT INTO order_lines (order_id, line_number, product_id, title, quantity, unit_price_minor)
       SELECT made.id, l.number, l."productId", l.title, l.quantity, (l."unitPrice" ->> 'amountMinor')::bigint
       FROM made, ROWS FROM (jsonb_to_recordset(:lines::jsonb) AS ("productId" uuid, title text, quantity integer,
         "unitPrice" jsonb)) WITH ORDINALITY AS l("productId", title, quantity, "unitPrice", number)),
     said AS (${insertOfMessages("made")})
     INSERT INTO order_transitions (id, order_id, version, type, to_status, actor, trace_id, created_at)
     SELECT :transitionId, made.id, 1, :type, :status, :actor, :traceId, :createdAt FROM made`,
    {
      id: order.id,
      number: order.number ?? null,
      version: order.version,
      status: order.status,
      paymentStatus: order.paymentStatus,
      customerId: customer.id,
      customerName: customer.name,
      customerPhone: customer.phone ?? null,
      partnerId: partner.id,
      partner: JSON.stringify(partner),
      pickupLatitude: partner.pickup.position?.latitude ?? null,
      pickupLongitude: partner.pickup.position?.longitude ?? null,
      currency: order.currency,
      feeMinor: order.feeMinor,
      totalMinor: order.totalMinor,
      address: JSON.stringify(order.address),
      note: order.note ?? null,
      bankId: order.bankId,
      payBy: order.payBy,
      deadlineAt: order.deadlineAt ?? null,
      pollAt: nextPollAt(order, Date.parse(order.createdAt)) ?? null,
      traceparent: traceparent ?? null,
      createdAt: order.createdAt,
      updatedAt: order.updatedAt,
      lines: JSON.stringify(order.lines),
      messages,
      transitionId: newId(),
      type: transition?.type,
      actor: transition?.actor.name,
      traceId: transition?.actor.traceId ?? null,
    },
  );
  return count === 1;
}

/**
 * Saves a decision if the order still has the state and version that the decision was based on.
 * @param messages the rows of the outbox. A decision without a transition does not store them
 * @param inserts named inserts that select from `saved`, the row of the changed order. Only for decisions with a transition
 * @returns false if the order has changed meanwhile: nothing was saved
 */
export async function saveOrder(
  trx: Db,
  before: Order,
  decision: Decision,
  messages: string,
  inserts?: Write,
): Promise<boolean> {
  const { next, transition } = decision;
  const poll = pollAfterPayment(decision);
  const update = `
    UPDATE orders SET version = :version, status = :status, payment_status = :paymentStatus,
      deliverer_id = :delivererId, paid_minor = :paidMinor, refunded_minor = :refundedMinor,
      refund_pending_minor = :refundPendingMinor, refund_failed_minor = :refundFailedMinor,
      address = :address::jsonb, note = :note, deadline_at = :deadlineAt, alerted_at = :alertedAt,
      partner_notified_at = :partnerNotifiedAt, notice_problem = :noticeProblem, ready_at = :readyAt,
      ready_said_at = :readySaidAt, ready_since = :readySince, picked_up_at = :pickedUpAt, offered_to = :offeredTo, offer_until = :offerUntil,
      offers_tried = :offersTried::uuid[], pooled_at = :pooledAt, closed_at = :closedAt, reason = :reason, rejection = :rejection::jsonb,
      handover_failures = :handoverFailures, proof_photo_id = :proofPhotoId, last_move = :lastMove,
      last_actor = :lastActor, updated_at = :updatedAt,
      paid_at = coalesce(:paidAt, paid_at), reconcile_at = coalesce(:pollAt, reconcile_at),
      deadline_failures = 0, deadline_retry_at = NULL, deadline_error = NULL
    WHERE id = :id AND version = :versionBefore AND status = :statusBefore`;
  const bindings = {
    version: next.version,
    status: next.status,
    paymentStatus: next.paymentStatus,
    delivererId: next.delivererId ?? null,
    paidMinor: next.paidMinor,
    refundedMinor: next.refundedMinor,
    refundPendingMinor: next.refundPendingMinor,
    refundFailedMinor: next.refundFailedMinor,
    address: JSON.stringify(next.address),
    note: next.note ?? null,
    deadlineAt: next.deadlineAt ?? null,
    alertedAt: next.alertedAt ?? null,
    partnerNotifiedAt: next.partnerNotifiedAt ?? null,
    noticeProblem: next.noticeProblem ?? null,
    readyAt: next.readyAt ?? null,
    readySaidAt: next.readySaidAt ?? null,
    readySince: next.readySince ?? null,
    pickedUpAt: next.pickedUpAt ?? null,
    offeredTo: next.offeredTo ?? null,
    offerUntil: next.offerUntil ?? null,
    offersTried: next.offersTried ?? null,
    pooledAt: next.pooledAt ?? null,
    closedAt: next.closedAt ?? null,
    reason: next.reason ?? null,
    rejection: next.rejection ? JSON.stringify(next.rejection) : null,
    handoverFailures: next.handoverFailures,
    proofPhotoId: next.proofPhotoId ?? null,
    lastMove: next.lastMove ?? null,
    lastActor: next.lastActor ?? null,
    updatedAt: next.updatedAt,
    paidAt: poll?.paidAt ?? null,
    pollAt: poll?.pollAt ?? null,
    id: before.id,
    versionBefore: before.version,
    statusBefore: before.status,
  };
  if (!transition) return (await affected(trx, update, bindings)) === 1;
  const { type, from, to, actor, reason } = transition;
  const count = await affected(
    trx,
    `WITH saved AS (${update} RETURNING id, version),
     said AS (${insertOfMessages("saved")})${inserts ? `, ${inserts.sql}` : ""}
     INSERT INTO order_transitions (id, order_id, version, type, from_status, to_status, actor, reason, trace_id,
       created_at)
     SELECT :transitionId, id, version, :type, :from, :to, :actor, :transitionReason, :traceId, :updatedAt FROM saved`,
    {
      ...inserts?.bindings,
      ...bindings,
      messages,
      transitionId: newId(),
      type,
      from: from ?? null,
      to,
      actor: actor.name,
      transitionReason: reason ?? null,
      traceId: actor.traceId ?? null,
    },
  );
  return count === 1;
}

/** Saves the checkout's URL unless there is one already: concurrent confirmations must give the same answer. */
export function savingCheckoutUrl(orderId: string, checkoutUrl: string, reference?: string): Write {
  return {
    sql: `UPDATE orders SET checkout_url = :checkoutUrl, checkout_ref = :reference
      WHERE id = :orderId AND checkout_url IS NULL`,
    bindings: { orderId, checkoutUrl, reference: reference ?? null },
  };
}

export async function findPosition(
  db: Db,
  orderId: string,
): Promise<(Position & { reportedAt: string; heardAt: string }) | undefined> {
  const sql = `SELECT latitude, longitude, reported_at, updated_at AS heard_at FROM order_positions
    WHERE order_id = ?`;
  return row(db, sql, [orderId]);
}

export interface CustomerColumns {
  customerId: string;
  customerName: string;
  customerPhone?: string | undefined;
}

export type OrderRow = Omit<Order, "customer" | "receipts"> &
  CustomerColumns & {
    receipts?: Receipt[];
    traceparent?: string;
    now: string;
  };

export function customerFrom({
  customerId,
  customerName,
  customerPhone,
}: CustomerColumns): Order["customer"] {
  return { id: customerId, name: customerName, ...(customerPhone && { phone: customerPhone }) };
}

/** Converts a row to an order. */
export function orderFromRow(found: OrderRow): LoadedOrder {
  const { customerId, customerName, customerPhone, receipts = [], traceparent, now, ...order } = found;
  return {
    order: { ...order, customer: customerFrom({ customerId, customerName, customerPhone }), receipts },
    nowMs: Date.parse(now),
    ...(traceparent && { traceparent }),
  };
}

export { ORDER as ORDER_SELECT };

/** The unique index of order numbers. */
export const NUMBER_KEY = "orders_number_key";

export interface NumberForOrder {
  nowMs: number;
  isKnown: boolean;
  number?: string;
}

/**
 * The database's clock, whether the order exists already, and the first of these numbers that no order of the partner has had for a day. The index of
 * numbers is unique for a day of UTC. A day in the partner's time zone overlaps two of these, and within 24 hours no number
 * is given twice. `IS FALSE` prevents a join with all orders of the partner.
 * @returns no number if all candidates are taken
 */
export async function nowAndNumber(
  db: Db,
  partnerId: string,
  candidates: readonly string[],
  orderId: string,
): Promise<NumberForOrder> {
  const found = await row<Omit<NumberForOrder, "nowMs"> & { now: string }>(
    db,
    `SELECT clock_timestamp() AS now, EXISTS (SELECT FROM orders WHERE id = ?) AS is_known,
       (SELECT c.number FROM unnest(?::text[]) WITH ORDINALITY AS c(number, place)
        WHERE (EXISTS (SELECT 1 FROM orders o WHERE o.number = c.number AND o.partner_id = ?
          AND o.created_at > now() - interval '1 day')) IS FALSE
        ORDER BY c.place LIMIT 1) AS number`,
    [orderId, candidates, partnerId],
  );
  if (!found) throw new Error("the database gave no row");
  const { now, ...rest } = found;
  return { nowMs: Date.parse(now), ...rest };
}

/** The database's clock, in milliseconds of Unix time. All deadlines use this clock. */
export async function databaseNowMs(db: Db): Promise<number> {
  const found = await row<{ now: string }>(db, "SELECT clock_timestamp() AS now");
  return Date.parse(found?.now as string);
}

/**
 * Locks the partner's order and then inserts the callback. The other order of the two would let two callbacks of one order
 * wait for each other: PostgreSQL ends that by failing one of them, but only after a second.
 * @returns `known`: the same callback is stored already; `mismatch`: one with this id and another body is, or the partner
 *   has no such order
 */
export async function insertCallback(
  trx: Db,
  callback: PartnerCallback,
): Promise<"new" | "known" | "mismatch"> {
  const { partnerId, eventId, bodyHash, type, orderId, reason = null, readyAt = null } = callback;
  const count = await affected(
    trx,
    `WITH locked AS (
       SELECT FROM orders o WHERE o.id = :orderId AND (o.partner_id = :partnerId) IS TRUE FOR NO KEY UPDATE)
     INSERT INTO partner_callbacks (partner_id, event_id, body_hash, type, order_id, reason, ready_at)
     SELECT :partnerId, :eventId, :bodyHash, :type, :orderId, :reason, :readyAt FROM locked
     ON CONFLICT (partner_id, event_id) DO NOTHING`,
    { partnerId, eventId, bodyHash, type, orderId, reason, readyAt },
  );
  if (count === 1) return "new";
  const sql = "SELECT body_hash FROM partner_callbacks WHERE partner_id = ? AND event_id = ?";
  const known = await row<{ bodyHash: string }>(trx, sql, [partnerId, eventId]);
  return known?.bodyHash === bodyHash ? "known" : "mismatch";
}
