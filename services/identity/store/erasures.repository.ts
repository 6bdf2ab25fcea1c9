import { affected, type Db, row, rows } from "../../../lib/sql/database.ts";
import { purposes } from "./codes.repository.ts";
import { ADDRESS_LOCK_SCOPE } from "./limits.repository.ts";

/** Records that an account still has to be removed at the provider. @param address the digest of its address */
export async function insertErasure(db: Db, userId: string, address: string): Promise<void> {
  await affected(db, "INSERT INTO erasures (user_id, address) VALUES (?, ?) ON CONFLICT DO NOTHING", [
    userId,
    address,
  ]);
}

/** Pending erasures, the one with the oldest try first. */
export async function pendingErasures(
  db: Db,
  limit: number,
): Promise<{ userId: string; address?: string }[]> {
  return rows<{ userId: string; address?: string }>(
    db,
    "SELECT user_id, address FROM erasures ORDER BY updated_at LIMIT ?",
    [limit],
  );
}

/** Moves it to the end of the queue before a try, so that one that fails does not block the others. */
export async function postponeErasure(db: Db, userId: string): Promise<void> {
  await affected(db, "UPDATE erasures SET updated_at = now() WHERE user_id = ?", [userId]);
}

/** Whether the person was erased and the account still has to be removed at the provider. */
export async function isErased(db: Db, userId: string): Promise<boolean> {
  return (await row(db, "SELECT user_id FROM erasures WHERE user_id = ?", [userId])) !== undefined;
}

export async function deleteErasure(db: Db, userId: string): Promise<void> {
  await affected(db, "DELETE FROM erasures WHERE user_id = ?", [userId]);
}

/**
 * Deletes the other data of a person in this database: sent messages, codes, limits, invitations. The caller has locked
 * the profile. Every other transaction locks the tables in the same order, and several rows of one table in the order of
 * their keys: otherwise two transactions could wait for each other.
 */
export async function eraseTraces(
  db: Db,
  user: { id: string; email: string; subjects: readonly string[] },
): Promise<void> {
  await affected(
    db,
    `DELETE FROM outbox
     WHERE subject = ANY (ARRAY(SELECT id::text FROM invitations WHERE email = ?) || ARRAY[?::text])`,
    [user.email, user.id],
  );
  await affected(
    db,
    `DELETE FROM invitations WHERE id = ANY (ARRAY(
       SELECT id FROM invitations WHERE email = ? ORDER BY id FOR UPDATE))`,
    [user.email],
  );
  await affected(db, "DELETE FROM email_undos WHERE user_id = ?", [user.id]);
  await affected(db, "DELETE FROM exports WHERE user_id = ?", [user.id]);
  await affected(db, "DELETE FROM verification_codes WHERE address = ANY(?) AND purpose = ANY(?)", [
    user.subjects,
    purposes,
  ]);
  await affected(
    db,
    `WITH locked AS MATERIALIZED (
       SELECT FROM allowances WHERE split_part(subject, '.', 1) = ANY(:subjects) AND scope <> :lockScope
       ORDER BY scope, subject FOR UPDATE)
     DELETE FROM allowances WHERE split_part(subject, '.', 1) = ANY(:subjects) AND scope <> :lockScope
       AND (SELECT count(*) FROM locked) >= 0`,
    { subjects: user.subjects, lockScope: ADDRESS_LOCK_SCOPE }, // the lock that is held during the erasure
  );
  await affected(db, "DELETE FROM idempotency_keys WHERE user_id = ?", [user.id]);
}
