import type { HistoryEvent, OrderStatus } from "../../../contracts/orders.ts";
import type { Address, Position } from "../../../contracts/shared.ts";
import { type Db, type Rows, row, rows } from "../../../lib/sql/database.ts";
import { WRONG_PINS_MAX } from "../domain/order-delivery.ts";
import type { Order } from "../domain/order-model.ts";
import { loaded, ORDER_SELECT, type OrderRow } from "./orders.repository.ts";

const EARTH_RADIUS_METERS = 6_371_000;

/** Whose orders a list holds. */
export type Owner =
  | { role: "customer" | "deliverer"; id: string }
  | { role: "partner"; partnerId: string; id: string }
  | { role: "admin" };

const FINAL: readonly OrderStatus[] = ["delivered", "cancelled", "expired"];

/**
 * The owner's orders before the one that the last page ended with, the one that was confirmed last comes first. The list
 * of all, which only operators read, goes by the ids instead, which are those of the checks: up to ten minutes older.
 */
export async function listOrders(
  db: Db,
  owner: Owner,
  filter: { status?: OrderStatus | undefined; before?: string | undefined; limit: number },
): Promise<Rows<Order>> {
  const conditions: string[] = [];
  const bindings: unknown[] = [];
  const where = (sql: string, ...values: unknown[]) => {
    conditions.push(sql);
    bindings.push(...values);
  };
  const isOfAll = owner.role === "admin";
  if (filter.before && isOfAll) where("o.id < ?", filter.before);
  else if (filter.before) {
    where("(o.created_at, o.id) < (SELECT b.created_at, b.id FROM orders b WHERE b.id = ?)", filter.before);
  }
  if (filter.status) {
    where("o.status = ?", filter.status);
    // Says what follows from the state, so that the index of open orders can serve it.
    if (!FINAL.includes(filter.status)) where("o.closed_at IS NULL");
  }
  const order = isOfAll ? "o.id DESC" : "o.created_at DESC, o.id DESC";
  const found = await rows<OrderRow>(
    db,
    ...statementOf(waysOf(owner), { conditions, bindings, order, limit: filter.limit }),
  );
  const orders: Rows<Order> = found.map((row) => loaded(row).order);
  if (found.skipped) orders.skipped = found.skipped;
  return orders;
}

/** Why orders are the owner's: of their work, and in any case as their customer. */
function waysOf(owner: Owner): [condition: string, binding: string][] {
  if (owner.role === "admin") return [];
  const own: [string, string] = ["o.customer_id = ?", owner.id];
  if (owner.role === "deliverer") return [["o.deliverer_id = ?", owner.id], own];
  return owner.role === "partner" ? [["o.partner_id = ?", owner.partnerId], own] : [own];
}

/**
 * A page of orders that are the owner's in one of these ways. Where there are several, each finds a page by its own
 * index: one condition with OR would read all orders of a partner.
 */
function statementOf(
  ways: readonly [condition: string, binding: string][],
  page: { conditions: readonly string[]; bindings: readonly unknown[]; order: string; limit: number },
): [sql: string, bindings: unknown[]] {
  const { conditions, bindings, order, limit } = page;
  const where = (more: readonly string[]) =>
    [...more, ...conditions].length > 0 ? `WHERE ${[...more, ...conditions].join(" AND ")}` : "";
  if (ways.length < 2) {
    const [way] = ways;
    const sql = `${ORDER_SELECT} ${where(way ? [way[0]] : [])} ORDER BY ${order} LIMIT ?`;
    return [sql, [...(way ? [way[1]] : []), ...bindings, limit]];
  }
  const parts = ways.map(([way]) => `(SELECT o.id FROM orders o ${where([way])} ORDER BY ${order} LIMIT ?)`);
  const sql = `${ORDER_SELECT} WHERE o.id = ANY (ARRAY(${parts.join(" UNION ")})) ORDER BY ${order} LIMIT ?`;
  return [sql, [...ways.flatMap(([, binding]) => [binding, ...bindings, limit]), limit]];
}

/** Orders that wait for an operator: an alert was raised, a refund failed, or a deadline was not acted on. */
export async function stuckOrders(db: Db, lateMs: number, limit: number): Promise<Order[]> {
  const found = await rows<OrderRow>(
    db,
    `${ORDER_SELECT}
     WHERE o.id IN (
       SELECT id FROM orders WHERE alerted_at IS NOT NULL OR payment_status = 'refund_failed'
       UNION SELECT id FROM orders WHERE deadline_at < now() - ? * interval '1 millisecond')
     ORDER BY o.id LIMIT ?`,
    [lateMs, limit],
  );
  return found.map((row) => loaded(row).order);
}

export interface PoolRow {
  orderId: string;
  partnerId: string;
  partnerTitle: string;
  pickup: Address;
  destination: Address;
  feeMinor: number;
  currency: string;
  readySince: string;
  distanceMeters?: number;
}

/**
 * The orders that wait for a deliverer: the nearest first from a position, else the longest waiting. Those whose
 * handover is locked wait for an operator.
 */
export async function poolOrders(db: Db, from: Position | undefined, limit: number): Promise<PoolRow[]> {
  const distance = from
    ? `round(2 * ${EARTH_RADIUS_METERS} * asin(sqrt(least(1,
         power(sin(radians(o.pickup_latitude - ?) / 2), 2) + cos(radians(?)) * cos(radians(o.pickup_latitude))
         * power(sin(radians(o.pickup_longitude - ?) / 2), 2)))))::integer`
    : "NULL::integer";
  return rows<PoolRow>(
    db,
    `SELECT o.id AS order_id, o.partner_id, o.partner ->> 'title' AS partner_title, o.partner -> 'pickup' AS pickup,
       o.address AS destination, o.fee_minor, o.currency, o.ready_since, ${distance} AS distance_meters
     FROM orders o WHERE o.status = 'ready' AND o.handover_failures < ?
     ORDER BY distance_meters NULLS LAST, o.ready_since, o.id LIMIT ?`,
    [...(from ? [from.latitude, from.latitude, from.longitude] : []), WRONG_PINS_MAX, limit],
  );
}

/** An order's history, the oldest first. */
export async function listTransitions(db: Db, orderId: string): Promise<HistoryEvent[]> {
  return rows<HistoryEvent>(db, `${TRANSITION} WHERE order_id = ? ORDER BY version`, [orderId]);
}

/** Where an order is, and where it was before. */
export async function findState(
  db: Db,
  orderId: string,
): Promise<{ status: OrderStatus; previousStatus?: OrderStatus; version: number } | undefined> {
  return row(
    db,
    `SELECT o.status, o.version,
       (SELECT t.from_status FROM order_transitions t WHERE t.order_id = o.id AND t.to_status = o.status
        ORDER BY t.version DESC LIMIT 1) AS previous_status
     FROM orders o WHERE o.id = ?`,
    [orderId],
  );
}

/** One line of a history. */
export const TRANSITION = `SELECT id, order_id, type, created_at AS at, from_status AS "from", to_status AS "to", actor,
  reason, trace_id, version FROM order_transitions`;

/** How many orders are in each state that does not end them. */
export async function countOrders(db: Db): Promise<Record<string, number>> {
  const found = await rows<{ status: string; count: number }>(
    db,
    "SELECT status, count(*)::integer AS count FROM orders WHERE closed_at IS NULL GROUP BY status",
  );
  return Object.fromEntries(found.map(({ status, count }) => [status, count]));
}
