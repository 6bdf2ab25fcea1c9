import { affected, type Db, row } from "../../lib/sql/database.ts";

/** What an Idempotency-Key is unique within. */
export interface KeyOf {
  userId: string;
  scope: string;
  key: string;
  bodyHash: string;
}

export interface StoredKey {
  bodyHash: string;
  /** Wrapped, so that every answer is an object. */
  answer?: { value: unknown };
}

const retentionSql = "interval '24 hours'";

/** Takes the key for this transaction; false when another one has it. */
export async function tryLock(trx: Db, { userId, scope, key }: KeyOf): Promise<boolean> {
  const found = await row<{ locked: boolean }>(
    trx,
    "SELECT pg_try_advisory_xact_lock(hashtextextended(?, 7205)) AS locked",
    [JSON.stringify([userId, scope, key])],
  );
  return found?.locked === true;
}

/** The key as it was used within the last 24 hours. */
export async function findKey(db: Db, { userId, scope, key }: KeyOf): Promise<StoredKey | undefined> {
  return row<StoredKey>(
    db,
    `SELECT body_hash, answer FROM idempotency_keys
     WHERE user_id = ? AND scope = ? AND key = ? AND created_at > now() - ${retentionSql}`,
    [userId, scope, key],
  );
}

/** Stores the answer of work that this transaction does; replaces a key that is older than its retention. */
export async function storeAnswer(trx: Db, of: KeyOf, answer: unknown): Promise<void> {
  await affected(
    trx,
    `INSERT INTO idempotency_keys AS k (user_id, scope, key, body_hash, answer) VALUES (?, ?, ?, ?, ?::json)
     ON CONFLICT (user_id, scope, key) DO UPDATE
     SET body_hash = excluded.body_hash, answer = excluded.answer, lease_token = NULL, lease_until = NULL,
       created_at = now(), updated_at = now()`,
    [of.userId, of.scope, of.key, of.bodyHash, JSON.stringify({ value: answer })],
  );
}

/**
 * Takes the key under a lease: a new key, one that is older than its retention, or one whose holder vanished.
 * @returns false when the key is answered, held, or was used with another body
 */
export async function claimKey(db: Db, of: KeyOf, token: string, leaseMs: number): Promise<boolean> {
  const count = await affected(
    db,
    `INSERT INTO idempotency_keys AS k (user_id, scope, key, body_hash, lease_token, lease_until)
     VALUES (?, ?, ?, ?, ?, now() + ? * interval '1 millisecond')
     ON CONFLICT (user_id, scope, key) DO UPDATE
     SET body_hash = excluded.body_hash, answer = NULL, lease_token = excluded.lease_token,
       lease_until = excluded.lease_until, updated_at = now(),
       created_at = CASE WHEN k.created_at > now() - ${retentionSql} THEN k.created_at ELSE now() END
     WHERE k.created_at <= now() - ${retentionSql}
        OR (k.answer IS NULL AND k.lease_until < now() AND k.body_hash = excluded.body_hash)`,
    [of.userId, of.scope, of.key, of.bodyHash, token, leaseMs],
  );
  return count === 1;
}

/** Stores the answer under the lease; false when the lease was lost to somebody else. */
export async function finishKey(trx: Db, of: KeyOf, token: string, answer: unknown): Promise<boolean> {
  const count = await affected(
    trx,
    `UPDATE idempotency_keys SET answer = ?::json, lease_token = NULL, lease_until = NULL, updated_at = now()
     WHERE user_id = ? AND scope = ? AND key = ? AND lease_token = ?`,
    [JSON.stringify({ value: answer }), of.userId, of.scope, of.key, token],
  );
  return count === 1;
}

/** Frees a key whose work failed, so that a repeat need not wait for the lease to end. */
export async function releaseKey(db: Db, of: KeyOf, token: string): Promise<void> {
  await affected(
    db,
    "DELETE FROM idempotency_keys WHERE user_id = ? AND scope = ? AND key = ? AND lease_token = ?",
    [of.userId, of.scope, of.key, token],
  );
}

/** Forgets up to `limit` keys that were used before `beforeAt`. */
export async function pruneKeys(db: Db, beforeAt: string, limit: number): Promise<number> {
  return affected(
    db,
    `DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(
       SELECT ctid FROM idempotency_keys WHERE created_at < ?
       ORDER BY created_at LIMIT ? FOR UPDATE SKIP LOCKED))`,
    [beforeAt, limit],
  );
}
