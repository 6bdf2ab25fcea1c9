import { affected, type Db, row } from "../../../lib/sql/database.ts";

export interface Use {
  used: number;
  /** Whole seconds until the allowance is full again. */
  renewedInSeconds: number;
}

/** So many uses in a window that begins with the first one. Counted in PostgreSQL: exact over all replicas. */
export interface Allowance {
  scope: string;
  max: number;
  windowSeconds: number;
}

/** A use that is under way, as PostgreSQL writes down the time at which it is given up for lost. */
export type Hold = string;

/** Under this scope stands whose turn it is to work on an address: see turns.ts. */
export const TURN_SCOPE = "sign-up";

const RUNS = "a.renewed_at > now()";
const LIVE = "ARRAY(SELECT until FROM unnest(a.held) AS until WHERE until > now())";

/**
 * Takes the place of one use for so many seconds, unless what was used and what is held fill the allowance.
 * @returns undefined when it is full
 */
export async function holdUse(
  db: Db,
  { scope, max, windowSeconds }: Allowance,
  subject: string,
  holdSeconds: number,
): Promise<Hold | undefined> {
  const taken = await row<{ hold: Hold }>(
    db,
    `INSERT INTO allowances AS a (scope, subject, used, renewed_at, held)
     VALUES (?, ?, 0, now() + ? * interval '1 second', ARRAY[now() + ? * interval '1 second'])
     ON CONFLICT (scope, subject) DO UPDATE
       SET used = CASE WHEN ${RUNS} THEN a.used ELSE 0 END,
           renewed_at = CASE WHEN ${RUNS} THEN a.renewed_at ELSE excluded.renewed_at END,
           held = ${LIVE} || excluded.held,
           updated_at = now()
       WHERE CASE WHEN ${RUNS} THEN a.used ELSE 0 END + cardinality(${LIVE}) < ?
     RETURNING held[cardinality(held)]::text AS hold`,
    [scope, subject, windowSeconds, holdSeconds, max],
  );
  return taken?.hold;
}

/** Whole seconds until an allowance that is full has room again: its window ends, or a use under way does. */
export async function secondsUntilRoom(db: Db, { scope, max }: Allowance, subject: string): Promise<number> {
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

/** Gives back the place of a use that came to nothing. */
export async function releaseUse(db: Db, { scope }: Allowance, subject: string, hold: Hold): Promise<void> {
  await affected(
    db,
    "UPDATE allowances SET held = array_remove(held, ?::timestamptz), updated_at = now() WHERE scope = ? AND subject = ?",
    [hold, scope, subject],
  );
}

/** Counts one use in the running window, or in a new one when that is over; the place that was held for it is free. */
export async function countUse(
  db: Db,
  { scope, windowSeconds }: Allowance,
  subject: string,
  hold?: Hold,
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
    [scope, subject, windowSeconds, hold ?? null],
  );
  return use as Use;
}

/** Whether the allowance was used in the window that runs. */
export async function hasUse(db: Db, scope: string, subject: string): Promise<boolean> {
  const sql = "SELECT 1 FROM allowances WHERE scope = ? AND subject = ? AND renewed_at > now()";
  return (await row(db, sql, [scope, subject])) !== undefined;
}

export async function forgetUse(db: Db, scope: string, subject: string): Promise<void> {
  await affected(db, "DELETE FROM allowances WHERE scope = ? AND subject = ?", [scope, subject]);
}

/**
 * Forgets the uses of a subject and, where its clients are counted apart, those of each of them. IS TRUE keeps the planner
 * from reading the primary key of the whole scope beside the index of the subject: 750 ms at a million rows.
 */
export async function forgetUses(db: Db, scope: string, subject: string): Promise<void> {
  await affected(db, "DELETE FROM allowances WHERE split_part(subject, '.', 1) = ? AND (scope = ?) IS TRUE", [
    subject,
    scope,
  ]);
}

/** Forgets up to `limit` allowances that are full again. @returns how many */
export async function sweepAllowances(db: Db, limit: number): Promise<number> {
  return affected(
    db,
    `DELETE FROM allowances WHERE ctid = ANY (ARRAY(
       SELECT ctid FROM allowances WHERE renewed_at < now()
       ORDER BY renewed_at LIMIT ? FOR UPDATE SKIP LOCKED))`,
    [limit],
  );
}
