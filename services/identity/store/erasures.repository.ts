import { affected, type Db, row, rows } from "../../../lib/sql/database.ts";
import { purposes } from "./codes.repository.ts";
import { TURN_SCOPE } from "./limits.repository.ts";

/** Writes down that the provider has an account to forget. @param address the digest of its address */
export async function insertErasure(db: Db, userId: string, address: string): Promise<void> {
  await affected(db, "INSERT INTO erasures (user_id, address) VALUES (?, ?) ON CONFLICT DO NOTHING", [
    userId,
    address,
  ]);
}

/** Those that were not tried for the longest time. */
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

/** It is tried now: should it fail, others come first the next time. */
export async function postponeErasure(db: Db, userId: string): Promise<void> {
  await affected(db, "UPDATE erasures SET updated_at = now() WHERE user_id = ?", [userId]);
}

/** Whether the person was erased and the provider has still to forget the account. */
export async function isErased(db: Db, userId: string): Promise<boolean> {
  return (await row(db, "SELECT user_id FROM erasures WHERE user_id = ?", [userId])) !== undefined;
}

export async function deleteErasure(db: Db, userId: string): Promise<void> {
  await affected(db, "DELETE FROM erasures WHERE user_id = ?", [userId]);
}

/** Removes what else of a person stands in this database: messages that were sent, codes, limits, invitations. */
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
  await affected(db, "DELETE FROM invitations WHERE email = ?", [user.email]);
  await affected(db, "DELETE FROM email_undos WHERE user_id = ?", [user.id]);
  await affected(db, "DELETE FROM verification_codes WHERE address = ANY(?) AND purpose = ANY(?)", [
    user.subjects,
    purposes,
  ]);
  await affected(db, "DELETE FROM allowances WHERE split_part(subject, '.', 1) = ANY(?) AND scope <> ?", [
    user.subjects,
    TURN_SCOPE, // goes with the end of the turn in which this happens
  ]);
  await affected(db, "DELETE FROM idempotency_keys WHERE user_id = ?", [user.id]);
}
