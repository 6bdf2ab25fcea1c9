import { affected, type Db, row } from "../../../lib/sql/database.ts";

/** A change of address that can be undone from the former address. */
export interface EmailUndo {
  userId: string;
  formerEmail: string;
}

export async function insertUndo(
  db: Db,
  undo: { tokenHash: string; userId: string; formerEmail: string; lifeSeconds: number },
): Promise<void> {
  await affected(
    db,
    `INSERT INTO email_undos (token_hash, user_id, former_email, expires_at)
     VALUES (?, ?, ?, now() + ? * interval '1 second')`,
    [undo.tokenHash, undo.userId, undo.formerEmail, undo.lifeSeconds],
  );
}

/** @returns undefined when there is none or it has expired */
export async function findUndo(db: Db, tokenHash: string): Promise<EmailUndo | undefined> {
  return row<EmailUndo>(
    db,
    "SELECT user_id, former_email FROM email_undos WHERE token_hash = ? AND expires_at > now()",
    [tokenHash],
  );
}

/**
 * Uses it up together with those of later changes, whose former addresses did not belong to the person.
 * @returns whether it existed
 */
export async function useUndo(db: Db, tokenHash: string, { userId }: EmailUndo): Promise<boolean> {
  const count = await affected(
    db,
    `DELETE FROM email_undos WHERE user_id = ? AND created_at >=
       (SELECT created_at FROM email_undos WHERE token_hash = ? AND expires_at > now())`,
    [userId, tokenHash],
  );
  return count > 0;
}

/** Deletes up to `limit` expired ones. @returns how many */
export async function sweepUndos(db: Db, limit: number): Promise<number> {
  return affected(
    db,
    `DELETE FROM email_undos WHERE token_hash = ANY (ARRAY(
       SELECT token_hash FROM email_undos WHERE expires_at < now()
       ORDER BY expires_at LIMIT ? FOR UPDATE SKIP LOCKED))`,
    [limit],
  );
}
