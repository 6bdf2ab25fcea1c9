import type { DiagnosisCause } from "../../../contracts/order-diagnosis.ts";
import type { HistoryEvent, OrderStatus } from "../../../contracts/orders.ts";
import type { Address, Position } from "../../../contracts/shared.ts";
import { type Db, type Rows, row, rows, rowsPlannedAnew } from "../../../lib/sql/database.ts";
import { distanceSql, longitudesOf } from "../../../lib/sql/distance.ts";
import { WRONG_PINS_MAX } from "../domain/order-delivery.ts";
import type { Order } from "../domain/order-model.ts";
import { offeredFirst } from "./offers.repository.ts";
import { ORDER_SELECT, type OrderRow, orderFromRow } from "./orders.repository.ts";
import { SHOWN_ORDER, type ShownOrder, type ShownRow, shownFromRow } from "./shown-orders.repository.ts";

/** The owner of the orders in a list. */
export type Owner =
  | { role: "customer" | "deliverer"; id: string }
  | { role: "partner"; partnerId: string; id: string }
  | { role: "admin" };

/**
 * The owner's orders, the newest confirmation first, from the order after `before`. The list of all orders, which only
 * operators read, is sorted by id instead: an id is that of the check, which is up to ten minutes older.
 */
export async function listOrders(
  db: Db,
  owner: Owner,
  filter: { before?: string | undefined; limit: number },
): Promise<Rows<ShownOrder>> {
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
  const order = isOfAll ? "o.id DESC" : "o.created_at DESC, o.id DESC";
  const found = await rows<ShownRow>(
    db,
    ...pageStatement(ownershipOf(owner), { conditions, bindings, order, limit: filter.limit }),
  );
  const orders: Rows<ShownOrder> = found.map(shownFromRow);
  if (found.skipped) orders.skipped = found.skipped;
  return orders;
}

/** The alternative conditions under which an order is the owner's: by their work, or as its customer. */
function ownershipOf(owner: Owner): [condition: string, binding: string][] {
  if (owner.role === "admin") return [];
  const own: [string, string] = ["o.customer_id = ?", owner.id];
  if (owner.role === "deliverer") return [["o.deliverer_id = ?", owner.id], own];
  return owner.role === "partner" ? [["o.partner_id = ?", owner.partnerId], own] : [own];
}

/**
 * The statement for a page of orders that meet one of the alternatives. Each alternative finds a page by its own index:
 * a single condition with OR would read all orders of a partner.
 */
function pageStatement(
  alternatives: readonly [condition: string, binding: string][],
  page: { conditions: readonly string[]; bindings: readonly unknown[]; order: string; limit: number },
): [sql: string, bindings: unknown[]] {
  const { conditions, bindings, order, limit } = page;
  const where = (more: readonly string[]) =>
    [...more, ...conditions].length > 0 ? `WHERE ${[...more, ...conditions].join(" AND ")}` : "";
  if (alternatives.length < 2) {
    const [only] = alternatives;
    const sql = `${SHOWN_ORDER} ${where(only ? [only[0]] : [])} ORDER BY ${order} LIMIT ?`;
    return [sql, [...(only ? [only[1]] : []), ...bindings, limit]];
  }
  const parts = alternatives.map(
    ([condition]) => `(SELECT o.id FROM orders o ${where([condition])} ORDER BY ${order} LIMIT ?)`,
  );
  const sql = `${SHOWN_ORDER} WHERE o.id = ANY (ARRAY(${parts.join(" UNION ")})) ORDER BY ${order} LIMIT ?`;
  return [sql, [...alternatives.flatMap(([, binding]) => [binding, ...bindings, limit]), limit]];
}

export interface StuckFilter {
  cause?: DiagnosisCause | undefined;
  partnerId?: string | undefined;
  city?: string | undefined;
  before?: string | undefined;
}

export interface StuckOrder {
  order: Order;
  cause: DiagnosisCause;
  since: string;
}

const STUCK_COLUMNS = `id, partner_id, partner ->> 'title' AS partner, partner -> 'pickup' ->> 'city' AS city,
  coalesce(least(alerted_at, CASE WHEN deadline_at < now() THEN deadline_at END), updated_at) AS since,
  CASE WHEN payment_status = 'refund_failed' THEN 'refund_failed'
    WHEN deadline_failures > 0 THEN 'deadline_failing'
    WHEN status = 'paid' AND partner_notified_at IS NULL THEN 'partner_not_notified'
    ELSE CASE status WHEN 'pending' THEN 'not_paid' WHEN 'paid' THEN 'partner_silent' WHEN 'preparing' THEN 'preparing'
      WHEN 'ready' THEN 'not_assigned' WHEN 'delivering' THEN 'courier_silent' WHEN 'failed' THEN 'undeliverable'
      ELSE 'ended' END
  END AS cause`;

/** Orders that wait for an operator: after an alert or a failed refund, or with a deadline overdue by `:lateMs`. */
const STUCK = `(SELECT * FROM (
    SELECT ${STUCK_COLUMNS} FROM orders WHERE alerted_at IS NOT NULL OR payment_status = 'refund_failed'
    UNION
    SELECT ${STUCK_COLUMNS} FROM orders WHERE deadline_at < now() - :lateMs * interval '1 millisecond') AS found
  WHERE (:cause::text IS NULL OR cause = :cause) AND (:partnerId::uuid IS NULL OR partner_id = :partnerId)
    AND (:city::text IS NULL OR lower(city) = lower(:city)) AND (:before::timestamptz IS NULL OR since <= :before)
  ) AS stuck`;

function stuckBindings(lateMs: number, { cause, partnerId, city, before }: StuckFilter) {
  return {
    lateMs,
    cause: cause ?? null,
    partnerId: partnerId ?? null,
    city: city ?? null,
    before: before ?? null,
  };
}

/** A page of the stuck orders, the first confirmed first. @param afterId the last id of the previous page */
export async function stuckOrders(
  db: Db,
  lateMs: number,
  filter: StuckFilter & { afterId?: string | undefined },
  limit: number,
): Promise<StuckOrder[]> {
  const found = await rows<OrderRow & { stuckCause: DiagnosisCause; stuckSince: string }>(
    db,
    `WITH page AS MATERIALIZED (
       SELECT id, cause AS stuck_cause, since AS stuck_since FROM ${STUCK}
       WHERE :afterId::uuid IS NULL OR id > :afterId ORDER BY id LIMIT :limit)
     SELECT full_order.*, page.stuck_cause, page.stuck_since FROM page
     CROSS JOIN LATERAL (${ORDER_SELECT} WHERE o.id = page.id) AS full_order
     ORDER BY page.id`,
    { ...stuckBindings(lateMs, filter), afterId: filter.afterId ?? null, limit },
  );
  return found.map(({ stuckCause, stuckSince, ...row }) => ({
    order: orderFromRow(row).order,
    cause: stuckCause,
    since: stuckSince,
  }));
}

export interface StuckGroup {
  name: string;
  count: number;
  oldest: string;
}

/** The numbers of stuck orders in groups, the largest first. */
export async function stuckGroups(
  db: Db,
  lateMs: number,
  filter: StuckFilter,
  by: "cause" | "partner" | "city",
  limit: number,
): Promise<StuckGroup[]> {
  return rows(
    db,
    `SELECT coalesce(${by}, '') AS name, count(*)::integer AS count, min(since) AS oldest
     FROM ${STUCK} GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT :limit`,
    { ...stuckBindings(lateMs, filter), limit },
  );
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

/** @param more further columns of `orders o`, each followed by a comma */
export const POOL_ENTRY = (distance: string, more = "") => `
  SELECT ${more}o.id AS order_id, o.number, o.partner_id, o.partner ->> 'title' AS partner_title, o.partner -> 'pickup' AS pickup,
    o.address AS destination, o.fee_minor, o.currency, o.ready_since, ${distance} AS distance_meters
  FROM orders o`;
const IN_POOL = `o.status = 'ready' AND o.handover_failures < ${WRONG_PINS_MAX}`;
/**
 * Whether the order `o` is in the pool. Orders that are offered to couriers first are not, until they are opened to it.
 * @param offered whether orders of partners without a setting of their own are offered first
 */
export const poolCondition = async (db: Db, offered: boolean) =>
  `${IN_POOL} AND (o.pooled_at IS NOT NULL OR NOT ${await offeredFirst(db, offered)})`;
export const OFFERED_ENTRY = "(o.offered_to IS NOT NULL AND o.offer_until > now())";
const TO_PICKUP = distanceSql([":latitude", ":longitude"], ["o.pickup_latitude", "o.pickup_longitude"]);

/**
 * The orders that wait for a deliverer: with a position, the nearest first, otherwise the longest waiting first. An order
 * with a locked handover is not among them: it waits for an operator. The index finds the nearest pickups on a map; all
 * orders of the last pickup are read, so that the longest waiting one of them is not left out. The exact distance sorts the
 * page. Orders without the position of a pickup come last.
 * @param offered as in `poolCondition`
 */
export async function poolOrders(
  db: Db,
  from: Position | undefined,
  limit: number,
  { offered = false }: { offered?: boolean } = {},
): Promise<PoolRow[]> {
  const inPool = await poolCondition(db, offered);
  if (!from) {
    const sql = `${POOL_ENTRY("NULL::integer")} WHERE ${inPool} ORDER BY o.ready_since, o.id LIMIT ?`;
    return rows<PoolRow>(db, sql, [limit]);
  }
  const { latitude, longitude } = from;
  // A plan for any limit would expect a tenth of the pool to be read, and sort it as a whole.
  return rowsPlannedAnew<PoolRow>(
    db,
    `${POOL_ENTRY(TO_PICKUP)}
     WHERE o.id IN (
       SELECT near.id FROM unnest(:longitudes::double precision[]) AS turn(longitude) CROSS JOIN LATERAL (
         SELECT o.id FROM orders o WHERE ${inPool} AND o.pickup_latitude IS NOT NULL
         ORDER BY map_point(o.pickup_latitude, o.pickup_longitude) <-> map_point(:latitude, turn.longitude)
         FETCH FIRST :limit ROWS WITH TIES) AS near
       UNION ALL
       (SELECT o.id FROM orders o WHERE ${inPool} AND o.pickup_latitude IS NULL ORDER BY o.ready_since, o.id LIMIT :limit))
     ORDER BY distance_meters NULLS LAST, o.ready_since, o.id LIMIT :limit`,
    { latitude, longitude, longitudes: longitudesOf(longitude), limit },
  );
}

/** The order that is offered to a courier now. */
export async function offersTo(db: Db, courierId: string): Promise<(PoolRow & { offerUntil: string })[]> {
  const sql = `SELECT entry.*, f.offer_until FROM orders f JOIN LATERAL (${POOL_ENTRY("NULL::integer")} WHERE o.id = f.id) AS entry ON true
    WHERE f.offered_to = ? AND f.offer_until > now()`;
  return rows<PoolRow & { offerUntil: string }>(db, sql, [courierId]);
}

/** An order's history, the oldest first. */
export async function listTransitions(db: Db, orderId: string): Promise<HistoryEvent[]> {
  return rows<HistoryEvent>(db, `${TRANSITION} WHERE order_id = ? ORDER BY version`, [orderId]);
}

/** The present and the previous state of an order. */
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

/** Selects lines of a history. */
export const TRANSITION = `SELECT id, order_id, type, created_at AS at, from_status AS "from", to_status AS "to", actor,
  reason, trace_id, version FROM order_transitions`;

/** The number of orders in each state that is not final. */
export async function countOrders(db: Db): Promise<Record<string, number>> {
  const found = await rows<{ status: string; count: number }>(
    db,
    "SELECT status, count(*)::integer AS count FROM orders WHERE closed_at IS NULL GROUP BY status",
  );
  return Object.fromEntries(found.map(({ status, count }) => [status, count]));
}
