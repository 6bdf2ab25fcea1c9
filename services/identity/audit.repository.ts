import { newId } from "../../lib/ids.ts";
import { affected, type Db, rows } from "../../mixins/postgres/database.ts";

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

export async function addAudit(db: Db, entry: NewAuditEntry): Promise<void> {
  await affected(
    db,
    "INSERT INTO audit_entries (id, actor_id, action, subject, detail, ip) VALUES (?, ?, ?, ?, ?, ?)",
    [newId(), entry.actorId ?? null, entry.action, entry.subject, entry.detail ?? null, entry.ip ?? null],
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
