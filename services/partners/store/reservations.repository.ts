import type { QuotedLine } from "../../../contracts/partners.ts";
import { affected, type Db, row, rows } from "../../../lib/sql/database.ts";
import type { Reservation, ReservationState } from "../domain/stock.ts";
import { PARTNER_COLUMNS, type PartnerRow } from "./partners.repository.ts";

export interface ReservationRequest {
  orderId: string;
  partnerId: string;
  lines: readonly QuotedLine[];
  feeMinor: number;
  currency: string;
  expiresAt: string;
}

/**
 * Takes all pieces of an order or none, in one statement that is its own transaction. Locks an existing reservation of
 * the order first, as every transaction of an order does, and then the rows in the order of products, so that two
 * transactions do not deadlock. `FOR UPDATE` returns each row as it is after the wait for its lock, so the
 * comparison and the new stock use the same values. Computed from the updated row itself, the new stock would first use the
 * value before the wait and could violate the check of a negative stock although pieces were returned meanwhile.
 * Returns undefined when prices, fee or stock differ from the request, or the order already has a reservation.
 */
export async function takeStock(db: Db, wanted: ReservationRequest): Promise<PartnerRow | undefined> {
  const { lines } = wanted;
  // Repeated in each access to the table: with a join alone the planner reads all offers of the partner.
  const products = lines.map((line) => line.productId);
  return await row<PartnerRow>(
    db,
    `WITH wanted AS (
       SELECT * FROM jsonb_to_recordset(CAST(:lines AS jsonb)) AS w(product_id uuid, quantity integer, price bigint)
     ), known AS MATERIALIZED (
       SELECT FROM stock_reservations WHERE order_id = :orderId FOR UPDATE
     ), locked AS MATERIALIZED (
       SELECT a.product_id, a.price_minor, a.stock, a.active
       FROM availability a
       WHERE a.partner_id = :partnerId AND a.product_id = ANY (CAST(:products AS uuid[])) AND a.currency = :currency
         AND NOT EXISTS (SELECT FROM known)
       ORDER BY a.product_id
       FOR UPDATE
     ), good AS (
       SELECT w.product_id, w.quantity, w.price, l.stock
       FROM locked l JOIN wanted w USING (product_id)
       WHERE l.active AND l.price_minor = w.price AND (l.stock IS NULL OR l.stock >= w.quantity)
     ), reservation AS (
       INSERT INTO stock_reservations (order_id, partner_id, state, expires_at)
       SELECT CAST(:orderId AS uuid), p.id, 'held', CAST(:expiresAt AS timestamptz) FROM partners p
       WHERE p.id = :partnerId AND p.enabled AND p.verified AND p.webhook_gone_at IS NULL
         AND p.delivery_fee_minor = :feeMinor AND p.currency = :currency
         AND (SELECT count(*) FROM good) = (SELECT count(*) FROM wanted)
       ON CONFLICT (order_id) DO NOTHING
       RETURNING order_id, partner_id
     ), taken AS (
       UPDATE availability a SET stock = g.stock - g.quantity,
         revision = a.revision + CASE WHEN g.stock IS NULL THEN 0 ELSE 1 END,
         stock_moved = a.stock_moved OR g.stock IS NOT NULL
       FROM good g, reservation r
       WHERE a.partner_id = :partnerId AND a.product_id = ANY (CAST(:products AS uuid[])) AND a.product_id = g.product_id
     ), noted AS (
       INSERT INTO stock_reservation_lines (order_id, product_id, quantity, unit_price_minor, taken)
       SELECT r.order_id, g.product_id, g.quantity, g.price,
         CASE WHEN g.stock IS NULL THEN 0 ELSE g.quantity END
       FROM reservation r, good g
     )
     SELECT ${PARTNER_COLUMNS} FROM partners WHERE id = (SELECT partner_id FROM reservation)`,
    { ...wanted, lines: wantedJson(lines), products },
  );
}

export interface ReservationRow extends Reservation {
  orderId: string;
  partnerId?: string;
}

const RESERVATION = "order_id, partner_id, state, order_version";

export async function findReservation(db: Db, orderId: string): Promise<ReservationRow | undefined> {
  return await row(db, `SELECT ${RESERVATION} FROM stock_reservations WHERE order_id = ?`, [orderId]);
}

/** Locks the reservation of an order until the end of the transaction. */
export async function lockReservation(db: Db, orderId: string): Promise<ReservationRow | undefined> {
  return await row(db, `SELECT ${RESERVATION} FROM stock_reservations WHERE order_id = ? FOR UPDATE`, [
    orderId,
  ]);
}

/**
 * Finds one reservation that expired more than `graceMs` ago and whose order has sent no message.
 * @param except orders to skip
 */
export async function findOrphanedReservation(
  db: Db,
  graceMs: number,
  except: readonly string[],
): Promise<string | undefined> {
  const orphaned = await row<{ orderId: string }>(
    db,
    `SELECT order_id FROM stock_reservations
     WHERE state = 'held' AND order_version = 0 AND expires_at < now() - ? * interval '1 millisecond'
       AND order_id <> ALL (?::uuid[])
     ORDER BY expires_at LIMIT 1`,
    [graceMs, except],
  );
  return orphaned?.orderId;
}

/** Whether the order reserved exactly these quantities at these prices. */
export async function hasSameLines(db: Db, orderId: string, lines: readonly QuotedLine[]): Promise<boolean> {
  const held = await rows<{ productId: string; quantity: number; unitPriceMinor: number }>(
    db,
    "SELECT product_id, quantity, unit_price_minor FROM stock_reservation_lines WHERE order_id = ?",
    [orderId],
  );
  const key = (productId: string, quantity: number, price: number) => `${productId} ${quantity} ${price}`;
  const known = new Set(held.map((line) => key(line.productId, line.quantity, line.unitPriceMinor)));
  const wanted = lines.map((line) => key(line.productId, line.quantity, line.unitPrice.amountMinor));
  return wanted.length === known.size && wanted.every((line) => known.has(line));
}

export interface NewReservation {
  orderId: string;
  partnerId: string | undefined;
  state: Exclude<ReservationState, "held">;
  orderVersion: number;
  reason: string;
}

/** Inserts the reservation of an order that has none; false when a concurrent transaction inserted it first. */
export async function insertReservation(db: Db, made: NewReservation): Promise<boolean> {
  const inserted = await affected(
    db,
    `INSERT INTO stock_reservations (order_id, partner_id, state, order_version, reason)
     VALUES (:orderId, :partnerId, :state, :orderVersion, :reason) ON CONFLICT (order_id) DO NOTHING`,
    { ...made, partnerId: made.partnerId ?? null },
  );
  return inserted > 0;
}

export interface ReservationChange {
  state: ReservationState;
  orderVersion: number;
  reason: string;
  partnerId?: string | undefined;
}

/** Changes a reservation that the transaction has locked. `partnerId` completes a tombstone without a partner. */
export async function saveReservation(db: Db, orderId: string, change: ReservationChange): Promise<void> {
  await affected(
    db,
    `UPDATE stock_reservations
     SET state = :state, order_version = :orderVersion, reason = :reason,
       partner_id = coalesce(partner_id, :partnerId), updated_at = now()
     WHERE order_id = :orderId`,
    { ...change, partnerId: change.partnerId ?? null, orderId },
  );
}

/**
 * Changes the reservations that are held and have had no newer message, one change for each order. Locks them in the order
 * of their ids, so that two transactions with several orders do not deadlock.
 * @returns the orders whose reservation was changed
 */
export async function advanceHeld(
  db: Db,
  changes: readonly (ReservationChange & { orderId: string })[],
): Promise<Set<string>> {
  const advanced = await rows<{ orderId: string }>(
    db,
    `WITH locked AS MATERIALIZED (
       SELECT r.order_id, c.state, c."orderVersion", c.reason, c."partnerId"
       FROM stock_reservations r JOIN jsonb_to_recordset(:changes::jsonb) AS c("orderId" uuid, state text,
         "orderVersion" integer, reason text, "partnerId" uuid) ON r.order_id = c."orderId"
       WHERE (r.state = 'held') IS TRUE AND r.order_version < c."orderVersion"
       ORDER BY r.order_id FOR NO KEY UPDATE OF r)
     UPDATE stock_reservations r SET state = l.state, order_version = l."orderVersion", reason = l.reason,
       partner_id = coalesce(r.partner_id, l."partnerId"), updated_at = now()
     FROM locked l WHERE r.order_id = l.order_id
     RETURNING r.order_id`,
    { changes: JSON.stringify(changes) },
  );
  return new Set(advanced.map(({ orderId }) => orderId));
}

/** Puts the pieces of an order back on sale. The transaction has locked the reservation. */
export async function returnStock(db: Db, orderId: string): Promise<void> {
  await affected(
    db,
    `WITH freed AS (
       UPDATE stock_reservation_lines l SET taken = 0, updated_at = now()
       FROM stock_reservations r
       WHERE l.order_id = ? AND l.taken > 0 AND r.order_id = l.order_id
       RETURNING r.partner_id, l.product_id, l.quantity
     ), locked AS MATERIALIZED (
       SELECT a.partner_id, a.product_id, f.quantity
       FROM availability a JOIN freed f USING (partner_id, product_id)
       ORDER BY a.product_id
       FOR UPDATE OF a
     )
     UPDATE availability a SET stock = a.stock + l.quantity, revision = a.revision + 1, stock_moved = true
     FROM locked l WHERE a.partner_id = l.partner_id AND a.product_id = l.product_id`,
    [orderId],
  );
}

/**
 * Takes the pieces of an order again; for each product all or none. Returns the products with too few pieces. The
 * transaction has locked the reservation.
 */
export async function retakeStock(
  db: Db,
  orderId: string,
  partnerId: string,
  lines: readonly QuotedLine[],
): Promise<string[]> {
  const short = await rows<{ productId: string }>(
    db,
    `WITH wanted AS (
       SELECT * FROM jsonb_to_recordset(?::jsonb) AS w(product_id uuid, quantity integer, price bigint)
     ), locked AS MATERIALIZED (
       SELECT a.partner_id, a.product_id, a.stock, w.quantity, w.price
       FROM availability a JOIN wanted w USING (product_id)
       WHERE a.partner_id = ? AND a.product_id = ANY (?::uuid[])
       ORDER BY a.product_id
       FOR UPDATE OF a
     ), taken AS (
       UPDATE availability a SET stock = l.stock - l.quantity, revision = a.revision + 1, stock_moved = true
       FROM locked l
       WHERE a.partner_id = l.partner_id AND a.product_id = l.product_id AND l.stock >= l.quantity
     ), noted AS (
       INSERT INTO stock_reservation_lines (order_id, product_id, quantity, unit_price_minor, taken)
       SELECT ?::uuid, w.product_id, w.quantity, w.price,
         CASE WHEN l.stock >= w.quantity THEN w.quantity ELSE 0 END
       FROM wanted w LEFT JOIN locked l USING (product_id)
       ON CONFLICT (order_id, product_id) DO UPDATE SET taken = excluded.taken, updated_at = now()
     )
     SELECT w.product_id FROM wanted w LEFT JOIN locked l USING (product_id)
     WHERE l.product_id IS NULL OR l.stock < w.quantity`,
    [wantedJson(lines), partnerId, lines.map((line) => line.productId), orderId],
  );
  return short.map(({ productId }) => productId);
}

/** Deletes up to `limit` reservations that ended before `beforeAt`; returns how many. */
export async function pruneReservations(db: Db, beforeAt: string, limit: number): Promise<number> {
  return await affected(
    db,
    `DELETE FROM stock_reservations WHERE order_id = ANY (ARRAY(
       SELECT order_id FROM stock_reservations
       WHERE state <> 'held' AND updated_at < ?
       ORDER BY updated_at LIMIT ? FOR UPDATE SKIP LOCKED))`,
    [beforeAt, limit],
  );
}

function wantedJson(lines: readonly QuotedLine[]): string {
  return JSON.stringify(
    lines.map(({ productId, quantity, unitPrice }) => ({
      product_id: productId,
      quantity,
      price: unitPrice.amountMinor,
    })),
  );
}
