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

/** What is written down. `subject` and `detail` name things by their ids, never people: nothing here is erased. */
export interface NewAuditEntry {
  actorId?: string | undefined;
  action: string;
  subject: string;
  detail?: string | undefined;
  /** Of staff only. */
  ip?: string | undefined;
}

const ENTRY = "id, created_at AS at, actor_id, action, subject, detail, ip";

/** What somebody did here and now. */
export async function addAudit(db: Db, entry: NewAuditEntry): Promise<void> {
  await insertAudit(db, newId(), null, entry);
}

/** What was done elsewhere: the id of the message that tells it is the entry's, so telling it twice adds nothing. */
export async function addToldAudit(db: Db, id: string, at: string, entry: NewAuditEntry): Promise<void> {
  await insertAudit(db, id, at, entry);
}

async function insertAudit(db: Db, id: string, at: string | null, entry: NewAuditEntry): Promise<void> {
  const { actorId = null, action, subject, detail = null, ip = null } = entry;
  await affected(
    db,
    `INSERT INTO audit_entries (id, created_at, actor_id, action, subject, detail, ip)
     VALUES (?, COALESCE(?::timestamptz, now()), ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`,
    [id, at, actorId, action, subject, detail, ip],
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

/** What one user did and what was done to their account, newest first. */
export async function auditOf(db: Db, userId: string, limit: number): Promise<AuditEntry[]> {
  return rows<AuditEntry>(
    db,
    `SELECT ${ENTRY} FROM audit_entries WHERE actor_id = ? OR subject = ? ORDER BY id DESC LIMIT ?`,
    [userId, userId, limit],
  );
}

/** Whether the database user of this service could take entries back: as their owner, or by a privilege. */
export async function mayChangeAudit(db: Db): Promise<boolean> {
  const found = await row<{ may: boolean }>(
    db,
    `SELECT pg_has_role(relowner, 'MEMBER') OR has_table_privilege(oid, 'UPDATE, DELETE, TRUNCATE, TRIGGER') AS may
     FROM pg_class WHERE oid = 'audit_entries'::regclass`,
  );
  return found?.may ?? true;
}
