import type { Bindings } from "../../lib/sql/bindings.ts";
import type { Client, Grant, ProviderSession, SigningKey } from "./port.ts";

/** The database access of a provider. The caller owns the pool. */
export interface Sql {
  /** Runs one statement. Rows have camelCase names and lack NULL values. */
  rows<T>(sql: string, bindings?: Bindings): Promise<T[]>;
  transact<T>(work: (sql: Sql) => Promise<T>): Promise<T>;
}

export interface AccountRow extends Grant {
  id: string;
  email: string;
  passwordHash: string;
  confirmed: boolean;
}

export interface SessionRow {
  id: string;
  accountId: string;
  salt: string;
  generation: number;
  /** Whether the last rotation is so recent that its answer may have been lost. */
  inGrace: boolean;
  live: boolean;
}

export interface SigningKeyRow {
  id: string;
  publicJwk: SigningKey;
  privateKeySealed: string;
  /** Whether every verifier has had time to load it. */
  known: boolean;
}

const ACCOUNT = "id, email, password_hash, confirmed, role, partner_id, partner_admin";

/** Inserts the account, or replaces one with the same, unconfirmed address. */
export async function saveAccount(
  sql: Sql,
  account: AccountRow,
): Promise<{ userId: string; taken: boolean }> {
  const [made] = await sql.rows<{ id: string }>(
    `INSERT INTO accounts AS present (${ACCOUNT})
     VALUES (:id, :email, :passwordHash, :confirmed, :role, :partnerId, :partnerAdmin)
     ON CONFLICT (email) DO UPDATE
       SET password_hash = excluded.password_hash, confirmed = excluded.confirmed, role = excluded.role,
           partner_id = excluded.partner_id, partner_admin = excluded.partner_admin, updated_at = now()
       WHERE NOT present.confirmed
     RETURNING id`,
    { ...account, partnerId: account.partnerId ?? null, partnerAdmin: account.partnerAdmin ?? false },
  );
  if (made) return { userId: made.id, taken: false };
  const present = await accountByEmail(sql, account.email);
  if (!present) return saveAccount(sql, account); // removed between the two statements
  return { userId: present.id, taken: true };
}

export async function accountByEmail(sql: Sql, email: string): Promise<AccountRow | undefined> {
  return (await sql.rows<AccountRow>(`SELECT ${ACCOUNT} FROM accounts WHERE email = ?`, [email]))[0];
}

export async function accountById(sql: Sql, id: string): Promise<AccountRow | undefined> {
  return (await sql.rows<AccountRow>(`SELECT ${ACCOUNT} FROM accounts WHERE id = ?`, [id]))[0];
}

/** @param guard replaces only this hash; default: any */
export async function setPasswordHash(sql: Sql, id: string, hash: string, guard?: string): Promise<boolean> {
  const done = await sql.rows(
    `UPDATE accounts SET password_hash = ?, updated_at = now()
     WHERE id = ? AND password_hash = coalesce(?, password_hash) RETURNING id`,
    [hash, id, guard ?? null],
  );
  return done.length === 1;
}

export async function setConfirmed(sql: Sql, id: string): Promise<boolean> {
  const done = await sql.rows(
    "UPDATE accounts SET confirmed = true, updated_at = now() WHERE id = ? RETURNING id",
    [id],
  );
  return done.length === 1;
}

export async function setEmail(sql: Sql, id: string, email: string): Promise<"done" | "taken" | "unknown"> {
  const done = await sql.rows(
    `UPDATE accounts SET email = ?, confirmed = true, updated_at = now()
     WHERE id = ? AND NOT EXISTS (SELECT FROM accounts WHERE email = ? AND id <> ?) RETURNING id`,
    [email, id, email, id],
  );
  if (done.length === 1) return "done";
  return (await accountById(sql, id)) ? "taken" : "unknown";
}

export async function setAccountGrant(sql: Sql, id: string, grant: Grant): Promise<boolean> {
  const done = await sql.rows(
    `UPDATE accounts SET role = ?, partner_id = ?, partner_admin = ?, updated_at = now()
     WHERE id = ? RETURNING id`,
    [grant.role, grant.partnerId ?? null, grant.partnerAdmin ?? false, id],
  );
  return done.length === 1;
}

/** Also deletes its sessions, by cascade. They are locked in the order that all statements use. */
export async function deleteAccount(sql: Sql, id: string): Promise<void> {
  await sql.rows(
    `WITH account AS MATERIALIZED (SELECT id FROM accounts WHERE id = ? FOR UPDATE),
     locked AS MATERIALIZED (
       SELECT s.id FROM account JOIN sessions s ON s.account_id = account.id ORDER BY s.id FOR UPDATE OF s)
     DELETE FROM accounts a USING account WHERE a.id = account.id AND (SELECT count(*) FROM locked) >= 0`,
    [id],
  );
}

/**
 * Inserts a session and ends the oldest ones beyond `keep`. Locks the account against a concurrent change of the
 * password, so that an old password cannot open a session.
 * @returns false when the account was deleted or has another password now
 */
export async function insertSession(
  sql: Sql,
  session: {
    id: string;
    account: AccountRow;
    salt: string;
    client: Client;
    idleSeconds: number;
    keep: number;
  },
): Promise<boolean> {
  const { id, account, salt, client, idleSeconds, keep } = session;
  const made = await sql.rows(
    `WITH account AS (
       SELECT id FROM accounts WHERE id = :accountId AND password_hash = :passwordHash FOR SHARE
     ), oldest AS (
       UPDATE sessions SET ended_at = now(), updated_at = now()
       WHERE id = ANY (ARRAY(SELECT id FROM sessions WHERE id = ANY (ARRAY(
         SELECT s.id FROM sessions s JOIN account ON s.account_id = account.id WHERE s.ended_at IS NULL
         ORDER BY s.rotated_at DESC OFFSET :kept)) ORDER BY id FOR UPDATE))
     )
     INSERT INTO sessions (id, account_id, salt, expires_at, user_agent, ip)
     SELECT CAST(:id AS uuid), account.id, :salt, now() + :idleSeconds * interval '1 second', :userAgent, :ip
     FROM account RETURNING id`,
    {
      ...{ id, accountId: account.id, passwordHash: account.passwordHash },
      ...{ salt, idleSeconds, kept: keep - 1 },
      ...{ userAgent: client.userAgent ?? null, ip: client.ip ?? null },
    },
  );
  return made.length === 1;
}

export async function sessionById(
  sql: Sql,
  id: string,
  graceSeconds: number,
): Promise<SessionRow | undefined> {
  const [found] = await sql.rows<SessionRow>(
    `SELECT id, account_id, salt, generation, rotated_at > now() - ? * interval '1 second' AS in_grace,
       ended_at IS NULL AND expires_at > now() AS live
     FROM sessions WHERE id = ?`,
    [graceSeconds, id],
  );
  return found;
}

/** Starts the next generation. @returns false when another request did it first or the session has ended */
export async function rotate(
  sql: Sql,
  session: { id: string; generation: number; client: Client; idleSeconds: number; lifeSeconds: number },
): Promise<boolean> {
  const { client, ...bindings } = session;
  const done = await sql.rows(
    `UPDATE sessions SET generation = generation + 1, rotated_at = now(), updated_at = now(),
       user_agent = coalesce(:userAgent, user_agent), ip = coalesce(:ip, ip),
       expires_at = least(now() + :idleSeconds * interval '1 second', created_at + :lifeSeconds * interval '1 second')
     WHERE id = :id AND generation = :generation AND ended_at IS NULL AND expires_at > now()
     RETURNING id`,
    { ...bindings, userAgent: client.userAgent ?? null, ip: client.ip ?? null },
  );
  return done.length === 1;
}

export async function liveSessions(sql: Sql, accountId: string): Promise<ProviderSession[]> {
  return sql.rows<ProviderSession>(
    `SELECT id, created_at, rotated_at AS last_used_at, user_agent, ip FROM sessions
     WHERE account_id = ? AND ended_at IS NULL AND expires_at > now() ORDER BY rotated_at DESC, id DESC`,
    [accountId],
  );
}

/** Whether the account has or had such a session. */
export async function endOneSession(sql: Sql, accountId: string, id: string): Promise<boolean> {
  const done = await sql.rows(
    `UPDATE sessions SET ended_at = coalesce(ended_at, now()), updated_at = now()
     WHERE id = ? AND account_id = ? RETURNING id`,
    [id, accountId],
  );
  return done.length === 1;
}

export async function endAllSessions(sql: Sql, accountId: string, except?: string): Promise<string[]> {
  const ended = await sql.rows<{ id: string }>(
    `UPDATE sessions SET ended_at = now(), updated_at = now() WHERE id = ANY (ARRAY(
       SELECT id FROM sessions WHERE account_id = ? AND ended_at IS NULL AND id IS DISTINCT FROM ?::uuid
       ORDER BY id FOR UPDATE)) RETURNING id`,
    [accountId, except ?? null],
  );
  return ended.map(({ id }) => id);
}

/**
 * Deletes up to `limit` sessions that ended a day ago. Until then, a reused token is distinguished from an invalid one.
 * @returns how many
 */
export async function sweepSessions(sql: Sql, limit: number): Promise<number> {
  const gone = await sql.rows(
    `DELETE FROM sessions WHERE id = ANY (ARRAY(
       SELECT id FROM sessions WHERE least(ended_at, expires_at) < now() - interval '1 day' AND told
       ORDER BY least(ended_at, expires_at) LIMIT ? FOR UPDATE SKIP LOCKED)) RETURNING id`,
    [limit],
  );
  return gone.length;
}

/** Newest first. */
export async function signingKeys(sql: Sql, knownAfterSeconds: number): Promise<SigningKeyRow[]> {
  return sql.rows<SigningKeyRow>(
    `SELECT id, public_jwk, private_key_sealed, created_at < now() - ? * interval '1 second' AS known
     FROM signing_keys ORDER BY created_at DESC, id DESC`,
    [knownAfterSeconds],
  );
}

/** Lets one replica at a time change keys, until its transaction ends. */
export async function lockSigningKeys(sql: Sql): Promise<void> {
  await sql.rows("SELECT pg_advisory_xact_lock(hashtext('signing_keys'))");
}

/** Whether the newest key is older than this, or there is none. */
export async function signingKeyIsDue(sql: Sql, afterSeconds: number): Promise<boolean> {
  const fresh = await sql.rows(
    "SELECT id FROM signing_keys WHERE created_at > now() - ? * interval '1 second' LIMIT 1",
    [afterSeconds],
  );
  return fresh.length === 0;
}

export async function insertSigningKey(sql: Sql, key: Omit<SigningKeyRow, "known">): Promise<void> {
  await sql.rows("INSERT INTO signing_keys (id, public_jwk, private_key_sealed) VALUES (?, ?, ?)", [
    key.id,
    JSON.stringify(key.publicJwk),
    key.privateKeySealed,
  ]);
}

/** Deletes the keys that were replaced longer ago than this. */
export async function sweepSigningKeys(sql: Sql, afterSeconds: number): Promise<void> {
  await sql.rows(
    `DELETE FROM signing_keys old WHERE EXISTS (
       SELECT FROM signing_keys new
       WHERE new.created_at > old.created_at AND new.created_at < now() - ? * interval '1 second'
     )`,
    [afterSeconds],
  );
}

export async function answers(sql: Sql): Promise<boolean> {
  const pong = await sql.rows("SELECT 1").catch(() => []);
  return pong.length === 1;
}
