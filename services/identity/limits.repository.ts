import { affected, type Db, row } from "../../mixins/postgres/database.ts";

export interface Use {
  used: number;
  /** Whole seconds until the allowance is full again. */
  renewedInSeconds: number;
}

/** Counts one use in the running window, or in a new one when that is over. */
export async function countUse(db: Db, scope: string, subject: string, windowSeconds: number): Promise<Use> {
  const use = await row<Use>(
    db,
    `INSERT INTO allowances AS a (scope, subject, used, renewed_at)
     VALUES (?, ?, 1, now() + ? * interval '1 second')
     ON CONFLICT (scope, subject) DO UPDATE
       SET used = CASE WHEN a.renewed_at <= now() THEN 1 ELSE least(a.used + 1, 1000000) END,
           renewed_at = CASE WHEN a.renewed_at <= now() THEN excluded.renewed_at ELSE a.renewed_at END,
           updated_at = now()
     RETURNING used, greatest(1, ceil(extract(epoch FROM renewed_at - now())))::integer AS renewed_in_seconds`,
    [scope, subject, windowSeconds],
  );
  return use as Use;
}

export async function uncountUse(db: Db, scope: string, subject: string): Promise<void> {
  await affected(
    db,
    "UPDATE allowances SET used = used - 1, updated_at = now() WHERE scope = ? AND subject = ? AND used > 0",
    [scope, subject],
  );
}

/** Whether the allowance was used in the window that runs. */
export async function hasUse(db: Db, scope: string, subject: string): Promise<boolean> {
  const sql = "SELECT 1 FROM allowances WHERE scope = ? AND subject = ? AND renewed_at > now()";
  return (await row(db, sql, [scope, subject])) !== undefined;
}

export async function forgetUse(db: Db, scope: string, subject: string): Promise<void> {
  await affected(db, "DELETE FROM allowances WHERE scope = ? AND subject = ?", [scope, subject]);
}

/** Forgets the uses of a subject and, where its clients are counted apart, those of each of them. */
export async function forgetUses(db: Db, scope: string, subject: string): Promise<void> {
  await affected(db, "DELETE FROM allowances WHERE scope = ? AND split_part(subject, '.', 1) = ?", [
    scope,
    subject,
  ]);
}

export async function sweepAllowances(db: Db): Promise<void> {
  await affected(db, "DELETE FROM allowances WHERE renewed_at < now()");
}
