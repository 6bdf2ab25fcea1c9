import type { CourierView } from "../../../contracts/couriers.ts";
import type { Position } from "../../../contracts/shared.ts";
import { affected, type Db, type Rows, row, rows } from "../../../lib/sql/database.ts";
import { distanceSql } from "../../../lib/sql/distance.ts";
import { DELIVERER_LOCK } from "./former-deliverers.repository.ts";

/** The couriers who are notified of a ready order: at most so many, and not farther away. */
const NEAREST_MAX = 10;
const NEARBY_METERS = 5_000;
/** How many of the nearest couriers are read, since some of them have no room for one more order. */
const NEAREST_READ = 50;

/** The facts that decide whether a user may be assigned one more order. */
export interface Admission {
  /** The user is no longer a deliverer although the token says so. */
  isFormer: boolean;
  underWay: number;
  /** Set by an operator for this courier. */
  ordersAtOnce?: number;
}

/**
 * Locks the assignments to a user until the transaction ends, and reads what they depend on: the number of orders under way
 * is that of all committed assignments.
 */
export async function admissionOf(trx: Db, userId: string): Promise<Admission> {
  await row(trx, `SELECT pg_advisory_xact_lock(${DELIVERER_LOCK})`, [userId]);
  // A separate statement, so that it reads the changes that were committed during the wait for the lock.
  const found = await row<Admission>(
    trx,
    `SELECT EXISTS (SELECT FROM former_deliverers WHERE user_id = :userId) AS is_former, ${underWayOf(":userId")} AS under_way,
       (SELECT orders_at_once FROM couriers WHERE id = :userId) AS orders_at_once`,
    { userId },
  );
  return found as Admission;
}

function underWayOf(courierId: string): string {
  return `(SELECT count(*)::integer FROM orders u WHERE u.deliverer_id = ${courierId} AND u.status = 'delivering')`;
}

export interface CourierRow {
  id: string;
  onDutySince?: string;
  vehicle?: CourierView["vehicle"];
  ordersAtOnce?: number;
  latitude?: number;
  longitude?: number;
  positionAt?: string;
  underWay: number;
}

const COURIER = `SELECT c.id, c.on_duty_since, c.vehicle, c.orders_at_once, c.latitude, c.longitude, c.position_at,
  ${underWayOf("c.id")} AS under_way FROM couriers c`;

export async function findCourier(db: Db, id: string): Promise<CourierRow | undefined> {
  return row<CourierRow>(db, `${COURIER} WHERE c.id = ?`, [id]);
}

/** The last position of a courier on duty. */
export async function findDutyPosition(db: Db, id: string): Promise<Position | undefined> {
  return row<Position>(db, "SELECT latitude, longitude FROM couriers WHERE id = ? AND latitude IS NOT NULL", [
    id,
  ]);
}

/** The couriers after the one with the id `after`, sorted by id. */
export async function couriersPage(
  db: Db,
  filter: { duty?: "on" | "off" | undefined; after?: string | undefined; limit: number },
): Promise<Rows<CourierRow>> {
  const { duty, after, limit } = filter;
  const conditions = [
    ...(duty ? [`c.on_duty_since IS ${duty === "on" ? "NOT " : ""}NULL`] : []),
    ...(after ? ["c.id > :after"] : []),
  ];
  return rows<CourierRow>(
    db,
    `${COURIER} ${conditions.length > 0 ? `WHERE ${conditions.join(" AND ")}` : ""} ORDER BY c.id LIMIT :limit`,
    { limit, ...(after && { after }) },
  );
}

export interface Duty {
  onDuty: boolean;
  vehicle?: CourierView["vehicle"];
}

/** The duty of a courier, locked until the transaction ends. A user who has never been on duty has none to lock. */
export async function lockDuty(trx: Db, id: string): Promise<Duty> {
  const sql = "SELECT on_duty_since IS NOT NULL AS on_duty, vehicle FROM couriers WHERE id = ? FOR UPDATE";
  return (await row<Duty>(trx, sql, [id])) ?? { onDuty: false };
}

/** Begins the duty, or changes the given values of the present one. */
export async function beginDuty(
  db: Db,
  id: string,
  { vehicle, position }: { vehicle?: CourierView["vehicle"]; position?: Position | undefined },
): Promise<void> {
  await affected(
    db,
    `INSERT INTO couriers AS c (id, on_duty_since, vehicle, latitude, longitude, position_at)
     VALUES (:id, now(), :vehicle, :latitude::double precision, :longitude, CASE WHEN :latitude::double precision IS NOT NULL THEN now() END)
     ON CONFLICT (id) DO UPDATE SET on_duty_since = coalesce(c.on_duty_since, excluded.on_duty_since),
       vehicle = coalesce(excluded.vehicle, c.vehicle), latitude = coalesce(excluded.latitude, c.latitude),
       longitude = coalesce(excluded.longitude, c.longitude), position_at = coalesce(excluded.position_at, c.position_at),
       heard_at = now(), updated_at = now()`,
    {
      id,
      vehicle: vehicle ?? null,
      latitude: position?.latitude ?? null,
      longitude: position?.longitude ?? null,
    },
  );
}

const END_DUTY =
  "on_duty_since = NULL, latitude = NULL, longitude = NULL, position_at = NULL, updated_at = now()";

/** Ends the duty and deletes the position. */
export async function endDuty(db: Db, id: string, vehicle?: CourierView["vehicle"]): Promise<void> {
  const sql = `UPDATE couriers SET ${END_DUTY}, vehicle = coalesce(:vehicle, vehicle) WHERE id = :id`;
  await affected(db, sql, { id, vehicle: vehicle ?? null });
}

/** Ends the duties without a sign of their couriers since `silentMs`. @returns the couriers, off duty now */
export async function endSilentDuties(
  db: Db,
  silentMs: number,
  limit: number,
): Promise<({ id: string } & Duty)[]> {
  return rows<{ id: string } & Duty>(
    db,
    `UPDATE couriers SET ${END_DUTY} WHERE id = ANY (ARRAY(
       SELECT id FROM couriers
       WHERE on_duty_since IS NOT NULL AND heard_at < now() - :silentMs * interval '1 millisecond'
       ORDER BY heard_at LIMIT :limit FOR UPDATE SKIP LOCKED))
     RETURNING id, false AS on_duty, vehicle`,
    { silentMs, limit },
  );
}

export async function setCapacity(db: Db, id: string, ordersAtOnce: number | undefined): Promise<void> {
  await affected(
    db,
    `INSERT INTO couriers (id, orders_at_once) VALUES (?, ?)
     ON CONFLICT (id) DO UPDATE SET orders_at_once = excluded.orders_at_once, updated_at = now()`,
    [id, ordersAtOnce ?? null],
  );
}

/** Deletes the courier with the position, and everything that an operator has set. */
export async function deleteCourier(db: Db, id: string): Promise<void> {
  await affected(db, "DELETE FROM couriers WHERE id = ?", [id]);
}

export interface SavedPositions {
  onDuty: boolean;
  /** The orders in delivery whose position is stored now. */
  orders: SavedPosition[];
}

interface SavedPosition {
  orderId: string;
  at: string;
  /** The place that the deliverer goes to: the partner until the pickup, then the customer. */
  place: Place;
  /** Absent if the position of the place is unknown. */
  distanceMeters?: number;
  /** The deliverer has been near this place already. */
  wasNear: boolean;
}

export type Place = "pickup" | "destination";

/**
 * Saves the position of a deliverer: for the duty, if there is one, and for the orders in delivery. The newest position by
 * the deliverer's clock wins, not the last to arrive.
 * @param orderId only for this order
 * @param positionAt the time of the position by the device. Default, and maximum: now
 */
export async function savePositions(
  db: Db,
  { delivererId, orderId }: { delivererId: string; orderId?: string },
  { latitude, longitude }: Position,
  positionAt?: string,
): Promise<SavedPositions> {
  const found = await rows<{ onDuty?: true } & Partial<SavedPosition>>(
    db,
    `WITH given AS MATERIALIZED (
       SELECT :latitude::double precision AS latitude, :longitude::double precision AS longitude,
         least(coalesce(:positionAt::timestamptz, now()), now()) AS at),
     duty AS (
       UPDATE couriers c SET heard_at = now(), updated_at = now(),
         (latitude, longitude, position_at) = (
           SELECT CASE WHEN c.position_at > g.at THEN c.latitude ELSE g.latitude END,
             CASE WHEN c.position_at > g.at THEN c.longitude ELSE g.longitude END, greatest(c.position_at, g.at)
           FROM given g)
       WHERE c.id = :delivererId AND c.on_duty_since IS NOT NULL
       RETURNING true AS on_duty),
     saved AS (
       INSERT INTO order_positions AS p (order_id, deliverer_id, latitude, longitude, reported_at)
       SELECT o.id, o.deliverer_id, g.latitude, g.longitude, g.at FROM orders o, given g
       WHERE ${orderId === undefined ? "o.deliverer_id = :delivererId" : "o.id = :orderId AND (o.deliverer_id = :delivererId) IS TRUE"}
         AND o.status = 'delivering'
       ON CONFLICT (order_id) DO UPDATE SET latitude = excluded.latitude, longitude = excluded.longitude,
         reported_at = excluded.reported_at, deliverer_id = excluded.deliverer_id, updated_at = now()
       WHERE p.deliverer_id IS DISTINCT FROM excluded.deliverer_id OR p.reported_at <= excluded.reported_at
       RETURNING p.order_id, p.reported_at, p.near_pickup_at, p.near_destination_at)
     SELECT (SELECT on_duty FROM duty) AS on_duty, going.*
     FROM (SELECT) AS one LEFT JOIN (
       SELECT s.order_id, s.reported_at AS at, CASE WHEN o.picked_up_at IS NULL THEN 'pickup' ELSE 'destination' END AS place,
         CASE WHEN o.picked_up_at IS NULL THEN ${distanceSql([":latitude", ":longitude"], ["o.pickup_latitude", "o.pickup_longitude"])}
           ELSE ${distanceSql([":latitude", ":longitude"], ["(o.address #>> '{position,latitude}')::double precision", "(o.address #>> '{position,longitude}')::double precision"])} END AS distance_meters,
         CASE WHEN o.picked_up_at IS NULL THEN s.near_pickup_at ELSE s.near_destination_at END IS NOT NULL AS was_near
       FROM saved s JOIN orders o ON o.id = s.order_id) AS going ON true`,
    { latitude, longitude, positionAt: positionAt ?? null, delivererId, ...(orderId && { orderId }) },
  );
  return {
    onDuty: found[0]?.onDuty ?? false,
    orders: found.flatMap(({ onDuty: _, ...saved }) => (saved.orderId ? [saved as SavedPosition] : [])),
  };
}

/** Records that the deliverer of an order is near a place. @returns false if that is recorded already */
export async function recordNear(db: Db, orderId: string, place: Place): Promise<boolean> {
  const column = place === "pickup" ? "near_pickup_at" : "near_destination_at";
  const sql = `UPDATE order_positions SET ${column} = now() WHERE order_id = ? AND ${column} IS NULL`;
  return (await affected(db, sql, [orderId])) === 1;
}

/**
 * The couriers on duty with room for one more order, the nearest first. Reads the couriers on duty only, of whom there are
 * few beside the orders.
 * @param ordersAtOnceMax for couriers for whom no operator has set another number
 */
export async function nearestCouriers(
  db: Db,
  { latitude, longitude }: Position,
  ordersAtOnceMax: number,
): Promise<string[]> {
  const found = await rows<{ id: string }>(
    db,
    `SELECT near.id FROM (
       SELECT c.id, c.orders_at_once, ${distanceSql([":latitude", ":longitude"], ["c.latitude", "c.longitude"])} AS distance_meters
       FROM couriers c WHERE c.on_duty_since IS NOT NULL AND c.latitude IS NOT NULL
       ORDER BY distance_meters LIMIT ${NEAREST_READ}) near
     WHERE near.distance_meters <= ${NEARBY_METERS}
       AND ${underWayOf("near.id")} < coalesce(near.orders_at_once, :ordersAtOnceMax)
     ORDER BY near.distance_meters LIMIT ${NEAREST_MAX}`,
    { latitude, longitude, ordersAtOnceMax },
  );
  return found.map(({ id }) => id);
}

/** The number of couriers on duty. */
export async function countOnDuty(db: Db): Promise<number> {
  const found = await row<{ count: number }>(
    db,
    "SELECT count(*)::integer AS count FROM couriers WHERE on_duty_since IS NOT NULL",
  );
  return found?.count ?? 0;
}
