import type { ExportPage, ExportStatus } from "../../../contracts/exports.ts";
import { affected, type Db, row, rows } from "../../../lib/sql/database.ts";
import { type Lease, leasedQueue } from "../../../lib/sql/leased-queue.ts";

const queue = leasedQueue({ table: "exports", dueAt: "due_at", leaseId: "lease_id" });

export interface ExportRow {
  id: string;
  state: ExportStatus["state"];
  pages: number;
  createdAt: string;
  expiresAt: string;
}

/** An export whose next page is to be made. */
export interface ClaimedExport extends Lease {
  userId: string;
  ticket: string;
  nextStep: string;
  failures: number;
  isExpired: boolean;
}

/** The export of a user that has not expired. */
export async function findExport(db: Db, userId: string): Promise<ExportRow | undefined> {
  return row<ExportRow>(
    db,
    "SELECT id, state, pages, created_at, expires_at FROM exports WHERE user_id = ? AND expires_at > now()",
    [userId],
  );
}

/** Inserts an export in place of an expired or failed one. Another one of the user stays. */
export async function insertExport(
  db: Db,
  one: { id: string; userId: string; ticket: string; firstStep: string; lifeSeconds: number },
): Promise<void> {
  await affected(
    db,
    `WITH former AS (
       DELETE FROM exports WHERE user_id = :userId AND (state = 'failed' OR expires_at <= now()) RETURNING id)
     INSERT INTO exports (id, user_id, state, ticket, next_step, expires_at)
     SELECT :id, :userId, 'pending', :ticket, :firstStep, now() + :lifeSeconds * interval '1 second'
     FROM (SELECT count(*) FROM former) AS deleted ON CONFLICT (user_id) DO NOTHING`,
    one,
  );
}

/** Claims due exports, the longest waiting first. */
export async function claimExports(
  db: Db,
  { leaseId, leaseMs, limit }: { leaseId: string; leaseMs: number; limit: number },
): Promise<ClaimedExport[]> {
  return rows<ClaimedExport>(
    db,
    `UPDATE exports SET ${queue.claimed}, updated_at = now() WHERE id = ANY (ARRAY(
       SELECT id FROM exports WHERE state = 'pending' AND due_at <= now()
       ORDER BY due_at LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED))
     RETURNING id, lease_id, user_id, ticket, next_step, failures, expires_at <= now() AS is_expired`,
    { leaseId, leaseMs, limit },
  );
}

/**
 * Stores a page and the next step, and renews the lease. Without a next step the export is ready.
 * @returns false if the lease is lost: nothing was stored
 */
export async function storePage(
  db: Db,
  lease: Lease,
  { page, nextStep, leaseMs }: { page: ExportPage; nextStep: string | undefined; leaseMs: number },
): Promise<boolean> {
  const count = await affected(
    db,
    `WITH held AS (
       UPDATE exports SET pages = pages + 1, next_step = :nextStep, failures = 0,
         state = CASE WHEN :nextStep::text IS NULL THEN 'ready' ELSE state END,
         lease_id = CASE WHEN :nextStep::text IS NULL THEN NULL ELSE lease_id END,
         due_at = now() + :leaseMs * interval '1 millisecond', updated_at = now()
       WHERE ${queue.held} RETURNING id, pages)
     INSERT INTO export_pages (export_id, number, content) SELECT id, pages, :page::jsonb FROM held`,
    { ...lease, page: JSON.stringify(page), nextStep: nextStep ?? null, leaseMs },
  );
  return count === 1;
}

/** Ends the lease; the export is due again after the delay. */
export async function postponeExport(db: Db, lease: Lease, delayMs: number, failures: number): Promise<void> {
  await queue.release(db, lease, { set: "failures = :failures, updated_at = now()" }, { delayMs, failures });
}

export async function failExport(db: Db, lease: Lease): Promise<void> {
  await queue.release(db, lease, { set: "state = 'failed', updated_at = now()", dueAt: "now()" });
}

/** A page of a user's finished export. */
export async function findPage(
  db: Db,
  userId: string,
  number: number,
): Promise<{ content: ExportPage; pages: number } | undefined> {
  return row(
    db,
    `SELECT p.content, e.pages FROM exports e JOIN export_pages p ON p.export_id = e.id
     WHERE e.user_id = ? AND e.state = 'ready' AND e.expires_at > now() AND p.number = ?`,
    [userId, number],
  );
}

/** Deletes up to `limit` expired exports with their pages. @returns how many */
export async function sweepExports(db: Db, limit: number): Promise<number> {
  return affected(
    db,
    `DELETE FROM exports WHERE id = ANY (ARRAY(
       SELECT id FROM exports WHERE expires_at < now() ORDER BY expires_at LIMIT ? FOR UPDATE SKIP LOCKED))`,
    [limit],
  );
}

/** The number of exports that are being made. */
export async function countPendingExports(db: Db): Promise<number> {
  const found = await row<{ count: number }>(
    db,
    "SELECT count(*)::integer AS count FROM exports WHERE state = 'pending'",
  );
  return found?.count ?? 0;
}
