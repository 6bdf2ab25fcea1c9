import type { Assignment } from "../../../contracts/couriers.ts";
import type { Position } from "../../../contracts/shared.ts";
import { affected, type Db, row, rows, rowsPlannedAnew } from "../../../lib/sql/database.ts";
import { distanceSql, longitudesOf } from "../../../lib/sql/distance.ts";

/** A courier farther away is offered nothing. */
const RADIUS_METERS = 20_000;
/** A courier whose position is older is offered nothing. */
const POSITION_MINUTES = 15;
/** An order under way counts as much as this distance. */
const METERS_PER_ORDER = 1_000;
/** The nearest couriers that are compared. */
const NEAREST = 20;

/** When the next offer of a ready order is due, exactly as the index has it: no other index can be used then. */
const DUE_AT =
  "CASE WHEN o.status = 'ready' AND o.pooled_at IS NULL THEN coalesce(o.offer_until, '-infinity'::timestamptz) END";
const DUE = `(${DUE_AT}) <= now()`;

/** Ready orders that wait for their next offer, the longest overdue first. */
export async function dueOffers(db: Db, limit: number): Promise<string[]> {
  const found = await rows<{ id: string }>(
    db,
    `SELECT o.id FROM orders o WHERE ${DUE} ORDER BY (${DUE_AT}) LIMIT ?`,
    [limit],
  );
  return found.map(({ id }) => id);
}

/** Locks an order that waits for its next offer, unless it is locked already. @returns whether it is locked now */
export async function lockDueOffer(trx: Db, id: string): Promise<boolean> {
  const sql = `SELECT o.id FROM orders o WHERE o.id = ? AND ${DUE} FOR NO KEY UPDATE SKIP LOCKED`;
  return (await row(trx, sql, [id])) !== undefined;
}

/** Tries the next offer of an order later, after a failure, so that it does not delay those of other orders. */
export async function postponeOffer(db: Db, id: string, delayMs: number): Promise<void> {
  await affected(
    db,
    `UPDATE orders o SET offer_until = now() + :delayMs * interval '1 millisecond' WHERE o.id = :id AND ${DUE}`,
    { id, delayMs },
  );
}

export interface WantedCourier {
  /** The position of the partner. Without one, the couriers with the fewest orders come first. */
  pickup: Position | undefined;
  /** Couriers who were offered this order already. */
  tried: readonly string[];
  /** The number of orders at once, where no operator has set another one. */
  ordersMax: number;
}

const UNDER_WAY =
  "(SELECT count(*)::integer FROM orders u WHERE u.deliverer_id = c.id AND u.status = 'delivering')";
const FREE = `c.on_duty_since IS NOT NULL AND (c.id = ANY (:tried::uuid[])) IS NOT TRUE
  AND NOT EXISTS (SELECT FROM orders f WHERE f.offered_to = c.id)
  AND ${UNDER_WAY} < coalesce(c.orders_at_once, :ordersMax)`;

/** The couriers on duty who could take the order, the best first: near the partner, with few orders under way. */
export async function bestCouriers(db: Db, { pickup, tried, ordersMax }: WantedCourier): Promise<string[]> {
  const common = { tried: [...tried], ordersMax, nearest: NEAREST };
  if (!pickup) {
    const sql = `SELECT c.id FROM couriers c WHERE ${FREE} ORDER BY ${UNDER_WAY}, c.on_duty_since, c.id LIMIT :nearest`;
    return (await rows<{ id: string }>(db, sql, common)).map(({ id }) => id);
  }
  const { latitude, longitude } = pickup;
  const found = await rowsPlannedAnew<{ id: string }>(
    db,
    `SELECT near.id FROM unnest(:longitudes::double precision[]) AS turn(longitude) CROSS JOIN LATERAL (
       SELECT c.id, ${UNDER_WAY} AS under_way,
         ${distanceSql([":latitude", ":longitude"], ["c.latitude", "c.longitude"])} AS distance_meters
       FROM couriers c
       WHERE ${FREE} AND c.latitude IS NOT NULL AND c.position_at > now() - interval '${POSITION_MINUTES} minutes'
       ORDER BY map_point(c.latitude, c.longitude) <-> map_point(:latitude, turn.longitude) LIMIT :nearest) AS near
     WHERE near.distance_meters <= ${RADIUS_METERS}
     GROUP BY near.id, near.under_way, near.distance_meters
     ORDER BY near.distance_meters + near.under_way * ${METERS_PER_ORDER}, near.id`,
    { ...common, latitude, longitude, longitudes: longitudesOf(longitude) },
  );
  return found.map(({ id }) => id);
}

/** Locks a courier on duty for an offer, unless another offer is being made. @returns whether the courier is locked now */
export async function lockCourier(trx: Db, id: string): Promise<boolean> {
  const sql =
    "SELECT id FROM couriers WHERE id = ? AND on_duty_since IS NOT NULL FOR NO KEY UPDATE SKIP LOCKED";
  return (await row(trx, sql, [id])) !== undefined;
}

/**
 * The condition that the order `o` is offered to couriers before it is in the pool: by the setting of its partner, or that of
 * the platform.
 * @param byDefault the setting of the platform
 */
export async function offeredFirst(db: Db, byDefault: boolean): Promise<string> {
  const sql = "SELECT EXISTS (SELECT FROM partner_assignments WHERE assignment = ?) AS any";
  const others = await row<{ any: boolean }>(db, sql, [byDefault ? "pool" : "offer"]);
  return others?.any ? offeredByPartner(byDefault) : String(byDefault);
}

/**
 * With a subquery for each order, PostgreSQL would read and sort the whole pool. Without CASE it would expect that nearly all
 * orders are those of such partners, and sort the pool too; of a test for NULL it expects that few are.
 */
function offeredByPartner(byDefault: boolean): string {
  const others = (assignment: Assignment) =>
    `ARRAY(SELECT a.partner_id FROM partner_assignments a WHERE a.assignment = '${assignment}')`;
  const isOffered = byDefault
    ? `o.partner_id <> ALL (${others("pool")})`
    : `o.partner_id = ANY (${others("offer")})`;
  return `(CASE WHEN ${isOffered} THEN NULL ELSE 1 END) IS NULL`;
}

export async function findAssignment(db: Db, partnerId: string): Promise<Assignment | undefined> {
  const sql = "SELECT assignment FROM partner_assignments WHERE partner_id = ?";
  return (await row<{ assignment: Assignment }>(db, sql, [partnerId]))?.assignment;
}

/** @param assignment absent: the setting of the platform applies again */
export async function saveAssignment(
  db: Db,
  partnerId: string,
  assignment: Assignment | undefined,
): Promise<void> {
  if (!assignment) {
    await affected(db, "DELETE FROM partner_assignments WHERE partner_id = ?", [partnerId]);
    return;
  }
  await affected(
    db,
    `INSERT INTO partner_assignments (partner_id, assignment) VALUES (?, ?)
     ON CONFLICT (partner_id) DO UPDATE SET assignment = excluded.assignment, updated_at = now()`,
    [partnerId, assignment],
  );
}

/** Whether the orders of a partner are offered to couriers first. */
export async function isOfferedFirst(db: Db, partnerId: string, byDefault: boolean): Promise<boolean> {
  const own = await findAssignment(db, partnerId);
  return own === undefined ? byDefault : own === "offer";
}

/** Whether there can be an order that waits for an offer, or has one. */
export async function hasOffers(db: Db, byDefault: boolean): Promise<boolean> {
  if (byDefault) return true;
  const found = await row<{ any: boolean }>(
    db,
    `SELECT EXISTS (SELECT FROM partner_assignments WHERE assignment = 'offer')
       OR EXISTS (SELECT FROM orders WHERE offered_to IS NOT NULL) AS any`,
  );
  return found?.any ?? false;
}

/**
 * Marks up to `limit` ready orders of the pool as opened to it, so that they are not read as waiting for an offer again.
 * @returns how many
 */
export async function markPooled(db: Db, byDefault: boolean, limit: number): Promise<number> {
  return affected(
    db,
    `UPDATE orders SET pooled_at = now() WHERE id = ANY (ARRAY(
       SELECT o.id FROM orders o
       WHERE ${DUE} AND o.offered_to IS NULL AND NOT ${offeredByPartner(byDefault)}
       ORDER BY (${DUE_AT}) LIMIT ? FOR NO KEY UPDATE SKIP LOCKED))`,
    [limit],
  );
}
