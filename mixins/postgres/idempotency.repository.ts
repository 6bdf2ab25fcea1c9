import { affected, type Db, deleteOldest, row, type Write } from "../../lib/sql/database.ts";

/** An Idempotency-Key of one user for one action, with the hash of the request body. */
export interface RequestKey {
  userId: string;
  scope: string;
  key: string;
  bodyHash: string;
}

export interface StoredKey {
  bodyHash: string;
  /** Wrapped in an object: JSON null and an absent answer differ. Absent while the work runs. */
  answer?: { value: unknown };
}

const retentionSql = "interval '24 hours'";

/** Locks the key until the end of the transaction. Returns false when another transaction holds the lock. */
export async function tryLock(trx: Db, { userId, scope, key }: RequestKey): Promise<boolean> {
  const found = await row<{ locked: boolean }>(
    trx,
    "SELECT pg_try_advisory_xact_lock(hashtextextended(?, 7205)) AS locked",
    [JSON.stringify([userId, scope, key])],
  );
  return found?.locked === true;
}

/** Finds the key if it was used within the last 24 hours. */
export async function findKey(db: Db, { userId, scope, key }: RequestKey): Promise<StoredKey | undefined> {
  return row<StoredKey>(
    db,
    `SELECT body_hash, answer FROM idempotency_keys
     WHERE user_id = ? AND scope = ? AND key = ? AND created_at > now() - ${retentionSql}`,
    [userId, scope, key],
  );
}

/** Stores the answer of the transaction's work. Replaces a key that is older than its retention. */
export async function storeAnswer(trx: Db, key: RequestKey, answer: unknown): Promise<void> {
  await affected(
    trx,
    `INSERT INTO idempotency_keys AS k (user_id, scope, key, body_hash, answer)
     VALUES (:userId, :scope, :key, :bodyHash, CAST(:answer AS json))
     ON CONFLICT (user_id, scope, key) DO UPDATE
     SET body_hash = excluded.body_hash, answer = excluded.answer, lease_token = NULL, lease_until = NULL,
       created_at = now(), updated_at = now()`,
    { ...key, answer: JSON.stringify({ value: answer }) },
  );
}

/**
 * Claims the key under a lease. Possible for a new key, one that is older than its retention, and one whose lease expired.
 * @returns false when the key has an answer or a running lease, or was used with another body
 */
export async function claimKey(db: Db, key: RequestKey, token: string, leaseMs: number): Promise<boolean> {
  const count = await affected(
    db,
    `INSERT INTO idempotency_keys AS k (user_id, scope, key, body_hash, lease_token, lease_until)
     VALUES (:userId, :scope, :key, :bodyHash, :token, now() + :leaseMs * interval '1 millisecond')
     ON CONFLICT (user_id, scope, key) DO UPDATE
     SET body_hash = excluded.body_hash, answer = NULL, lease_token = excluded.lease_token,
       lease_until = excluded.lease_until, updated_at = now(),
       created_at = CASE WHEN k.created_at > now() - ${retentionSql} THEN k.created_at ELSE now() END
     WHERE k.created_at <= now() - ${retentionSql}
        OR (k.answer IS NULL AND k.lease_until < now() AND k.body_hash = excluded.body_hash)`,
    { ...key, token, leaseMs },
  );
  return count === 1;
}

/**
 * Stores the answer and ends the lease. @returns false when the lease has expired and another request has the key
 * @param effect a write that is a part of the same statement. It is made also when the lease has expired
 */
export async function finishKey(
  db: Db,
  key: RequestKey,
  token: string,
  answer: unknown,
  effect?: Write,
): Promise<boolean> {
  const count = await affected(
    db,
    `${effect ? `WITH effect AS (${effect.sql})` : ""}
     UPDATE idempotency_keys SET answer = CAST(:answer AS json), lease_token = NULL, lease_until = NULL,
       updated_at = now()
     WHERE user_id = :userId AND scope = :scope AND key = :key AND lease_token = :token`,
    { ...effect?.bindings, ...key, token, answer: JSON.stringify({ value: answer }) },
  );
  return count === 1;
}

/** Makes the effect of `finishKey` where a request has no key. */
export async function writeEffect(db: Db, { sql, bindings }: Write): Promise<void> {
  await affected(db, sql, bindings);
}

/** Deletes a key whose work failed, so that a retry does not wait for the end of the lease. */
export async function releaseKey(db: Db, { userId, scope, key }: RequestKey, token: string): Promise<void> {
  await affected(
    db,
    "DELETE FROM idempotency_keys WHERE user_id = ? AND scope = ? AND key = ? AND lease_token = ?",
    [userId, scope, key, token],
  );
}

/** Deletes up to `limit` keys that were used before `beforeAt`. Returns their number. */
export function pruneKeys(db: Db, beforeAt: string, limit: number): Promise<number> {
  return deleteOldest(db, "idempotency_keys", "created_at", { before: beforeAt, limit });
}
