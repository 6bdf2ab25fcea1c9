import { affected, type Db, row } from "../../../lib/sql/database.ts";

export interface Use {
  used: number;
  /** Whole seconds until the allowance is full again. */
  renewedInSeconds: number;
}

/** At most `max` uses in a window that begins with the first use. PostgreSQL counts, so it is exact over all replicas. */
export interface Allowance {
  scope: string;
  max: number;
  windowSeconds: number;
}

/** A use that has begun: the time at which its reservation expires, in the text form of PostgreSQL. */
export type Reservation = string;

/** The scope of the locks of addresses: see address-lock.ts. */
export const ADDRESS_LOCK_SCOPE = "sign-up";

const RUNS = "a.renewed_at > now()";
const LIVE = "ARRAY(SELECT until FROM unnest(a.held) AS until WHERE until > now())";

/**
 * Reserves one use for some seconds, unless counted and reserved uses fill the allowance.
 * @returns undefined when it is full
 */
export async function reserveUse(
  db: Db,
  { scope, max, windowSeconds }: Allowance,
  subject: string,
  reservationSeconds: number,
): Promise<Reservation | undefined> {
  const taken = await row<{ reservation: Reservation }>(
    db,
    `INSERT INTO allowances AS a (scope, subject, used, renewed_at, held)
     VALUES (:scope, :subject, 0, now() + :windowSeconds * interval '1 second',
       ARRAY[now() + :reservationSeconds * interval '1 second'])
     ON CONFLICT (scope, subject) DO UPDATE
       SET used = CASE WHEN ${RUNS} THEN a.used ELSE 0 END,
           renewed_at = CASE WHEN ${RUNS} THEN a.renewed_at ELSE excluded.renewed_at END,
           held = ${LIVE} || excluded.held,
           updated_at = now()
       WHERE CASE WHEN ${RUNS} THEN a.used ELSE 0 END + cardinality(${LIVE}) < :max
     RETURNING held[cardinality(held)]::text AS reservation`,
    { scope, subject, windowSeconds, reservationSeconds, max },
  );
  return taken?.reservation;
}

/** Whole seconds until a full allowance permits a use again: when its window ends or a reservation expires. */
export async function secondsUntilAvailable(
  db: Db,
  { scope, max }: Allowance,
  subject: string,
): Promise<number> {
  const room = await row<{ seconds: number }>(
    db,
    `SELECT greatest(1, ceil(extract(epoch FROM
       CASE WHEN used >= ? THEN renewed_at ELSE (SELECT min(until) FROM unnest(${LIVE}) AS until) END - now()
     )))::integer AS seconds
     FROM allowances AS a WHERE scope = ? AND subject = ?`,
    [max, scope, subject],
  );
  return room?.seconds ?? 1;
}

/** Releases a reservation without counting a use. */
export async function releaseReservation(
  db: Db,
  { scope }: Allowance,
  subject: string,
  reservation: Reservation,
): Promise<void> {
  await affected(
    db,
    "UPDATE allowances SET held = array_remove(held, ?::timestamptz), updated_at = now() WHERE scope = ? AND subject = ?",
    [reservation, scope, subject],
  );
}

/** Counts one use in the current window, or in a new one if it has ended, and releases its reservation. */
export async function countUse(
  db: Db,
  { scope, windowSeconds }: Allowance,
  subject: string,
  reservation?: Reservation,
): Promise<Use> {
  const use = await row<Use>(
    db,
    `INSERT INTO allowances AS a (scope, subject, used, renewed_at)
     VALUES (?, ?, 1, now() + ? * interval '1 second')
     ON CONFLICT (scope, subject) DO UPDATE
       SET used = CASE WHEN ${RUNS} THEN least(a.used + 1, 1000000) ELSE 1 END,
           renewed_at = CASE WHEN ${RUNS} THEN a.renewed_at ELSE excluded.renewed_at END,
           held = array_remove(a.held, ?::timestamptz),
           updated_at = now()
     RETURNING used, greatest(1, ceil(extract(epoch FROM renewed_at - now())))::integer AS renewed_in_seconds`,
    [scope, subject, windowSeconds, reservation ?? null],
  );
  return use as Use;
}

/** Whether the allowance was used in the current window. */
export async function hasUse(db: Db, scope: string, subject: string): Promise<boolean> {
  const sql = "SELECT 1 FROM allowances WHERE scope = ? AND subject = ? AND renewed_at > now()";
  return (await row(db, sql, [scope, subject])) !== undefined;
}

export async function resetAllowance(db: Db, scope: string, subject: string): Promise<void> {
  await affected(db, "DELETE FROM allowances WHERE scope = ? AND subject = ?", [scope, subject]);
}

/**
 * Deletes the uses of a subject, including those that are counted per client of it. IS TRUE keeps the planner from also
 * reading the primary key of the whole scope, which takes 750 ms at a million rows.
 */
export async function resetAllowances(db: Db, scope: string, subject: string): Promise<void> {
  await affected(
    db,
    `WITH locked AS MATERIALIZED (
       SELECT FROM allowances WHERE split_part(subject, '.', 1) = :subject AND (scope = :scope) IS TRUE
       ORDER BY scope, subject FOR UPDATE)
     DELETE FROM allowances WHERE split_part(subject, '.', 1) = :subject AND (scope = :scope) IS TRUE
       AND (SELECT count(*) FROM locked) >= 0`,
    { subject, scope },
  );
}

/** Deletes up to `limit` allowances whose window has ended. @returns how many */
export async function sweepAllowances(db: Db, limit: number): Promise<number> {
  return affected(
    db,
    `DELETE FROM allowances WHERE ctid = ANY (ARRAY(
       SELECT ctid FROM allowances WHERE renewed_at < now()
       ORDER BY renewed_at LIMIT ? FOR UPDATE SKIP LOCKED))`,
    [limit],
  );
}
