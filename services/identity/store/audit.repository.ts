import { newId } from "../../../lib/ids.ts";
import { affected, type Db, row, rows } from "../../../lib/sql/database.ts";

export interface AuditEntry {
  id: string;
  at: string;
  actorId?: string;
  action: string;
  subject: string;
  detail?: string;
  ip?: string;
}

/** A new entry. `subject` and `detail` contain ids and no personal data, since entries are never erased. */
export interface NewAuditEntry {
  actorId?: string | undefined;
  action: string;
  subject: string;
  detail?: string | undefined;
  /** Of staff only. */
  ip?: string | undefined;
}

const LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff";
const ENTRY = "id, created_at AS at, actor_id, action, subject, detail, ip";

/** Records an act at this service, with the current time. */
export async function addAudit(db: Db, entry: NewAuditEntry): Promise<void> {
  await insertAudit(db, newId(), null, entry);
}

/** Records an act at another service. The entry has the id of the message, so a repeated message adds nothing. */
export async function addRemoteAudit(db: Db, id: string, at: string, entry: NewAuditEntry): Promise<void> {
  await insertAudit(db, id, at, entry);
}

async function insertAudit(db: Db, id: string, at: string | null, entry: NewAuditEntry): Promise<void> {
  const { actorId = null, action, subject, detail = null, ip = null } = entry;
  await affected(
    db,
    `INSERT INTO audit_entries (id, created_at, actor_id, action, subject, detail, ip)
     VALUES (:id, COALESCE(:at::timestamptz, now()), :actorId, :action, :subject, :detail, :ip)
     ON CONFLICT (id) DO NOTHING`,
    { id, at, actorId, action, subject, detail, ip },
  );
}

/** Newest first. @param before the id of the entry that the page continues after */
export async function auditPage(db: Db, limit: number, before?: string): Promise<AuditEntry[]> {
  return rows<AuditEntry>(
    db,
    `SELECT ${ENTRY} FROM audit_entries WHERE ?::uuid IS NULL OR id < ?::uuid ORDER BY id DESC LIMIT ?`,
    [before ?? null, before ?? null, limit],
  );
}

/** The entries with the user as actor or subject, newest first. @param before the id of the entry that the page continues after */
export async function auditOf(
  db: Db,
  userId: string,
  limit: number,
  before: string = LAST_ID,
): Promise<AuditEntry[]> {
  return rows<AuditEntry>(
    db,
    `(SELECT ${ENTRY} FROM audit_entries WHERE actor_id = :userId::uuid AND id < :before::uuid
      ORDER BY id DESC LIMIT :limit)
     UNION (SELECT ${ENTRY} FROM audit_entries WHERE subject = :userId::text AND id < :before::uuid
      ORDER BY id DESC LIMIT :limit)
     ORDER BY id DESC LIMIT :limit`,
    { userId, limit, before },
  );
}

/**
 * Deletes up to `limit` entries whose id is below `beforeId` and that are older than a year, by a function of the database:
 * the user of this service may not delete.
 * @returns the number of deleted entries
 */
export async function pruneAudit(db: Db, beforeId: string, limit: number): Promise<number> {
  const found = await row<{ pruned: number }>(db, "SELECT prune_audit(?::uuid, ?::integer) AS pruned", [
    beforeId,
    limit,
  ]);
  return found?.pruned ?? 0;
}

/** Whether the database user of this service could change or delete entries, as their owner or by a privilege. */
export async function canChangeAudit(db: Db): Promise<boolean> {
  const found = await row<{ may: boolean }>(
    db,
    `SELECT has_table_privilege('audit_entries', 'UPDATE, DELETE, TRUNCATE, TRIGGER')
       OR pg_has_role((SELECT relowner FROM pg_class WHERE oid = 'audit_entries'::regclass), 'MEMBER') AS may`,
  );
  return found?.may ?? true;
}
