import type { Sql } from "./built-in.repository.ts";
import type { Client, ProviderSession } from "./port.ts";

export interface KeycloakSessionRow {
  id: string;
  accountId: string;
  salt: string;
  generation: number;
  tokensSealed: string;
  /** Whether the last rotation is so recent that its answer may have been lost. */
  inGrace: boolean;
  live: boolean;
}

const LIVE = "ended_at IS NULL AND expires_at > now()";
/** Sessions of a release that did not store Keycloak's id have it as their own. */
const KEYCLOAK_ID = "coalesce(keycloak_id, id::text) AS keycloak_id";

/** Inserts a session and ends the oldest ones of the account beyond `keep`. */
export async function insertSession(
  sql: Sql,
  session: {
    id: string;
    keycloakId: string;
    accountId: string;
    salt: string;
    tokensSealed: string;
    client: Client;
    lifeSeconds: number;
    keep: number;
  },
): Promise<void> {
  const { client, keep, ...bindings } = session;
  await sql.rows(
    `WITH oldest AS (
       UPDATE keycloak_sessions SET ended_at = now(), updated_at = now()
       WHERE id = ANY (ARRAY(SELECT id FROM keycloak_sessions WHERE id = ANY (ARRAY(
         SELECT id FROM keycloak_sessions WHERE account_id = :accountId AND ${LIVE}
         ORDER BY rotated_at DESC OFFSET :kept)) ORDER BY id FOR UPDATE))
     )
     INSERT INTO keycloak_sessions (id, keycloak_id, account_id, salt, tokens_sealed, expires_at, user_agent, ip)
     VALUES (:id, :keycloakId, :accountId, :salt, :tokensSealed, now() + :lifeSeconds * interval '1 second',
       :userAgent, :ip)`,
    { ...bindings, kept: keep - 1, userAgent: client.userAgent ?? null, ip: client.ip ?? null },
  );
}

export async function sessionById(
  sql: Sql,
  id: string,
  graceSeconds: number,
): Promise<KeycloakSessionRow | undefined> {
  const [found] = await sql.rows<KeycloakSessionRow>(
    `SELECT id, account_id, salt, generation, tokens_sealed,
       rotated_at > now() - ? * interval '1 second' AS in_grace, ${LIVE} AS live
     FROM keycloak_sessions WHERE id = ?`,
    [graceSeconds, id],
  );
  return found;
}

/** Claims the exchange of the live generation for a time. @returns false when it is claimed or not the live one */
export async function claimExchange(
  sql: Sql,
  session: { id: string; generation: number; leaseSeconds: number },
): Promise<boolean> {
  const claimed = await sql.rows(
    `UPDATE keycloak_sessions SET exchanged_until = now() + ? * interval '1 second', updated_at = now()
     WHERE id = ? AND generation = ? AND exchanged_until < now() AND ${LIVE} RETURNING id`,
    [session.leaseSeconds, session.id, session.generation],
  );
  return claimed.length === 1;
}

/** Releases the claim after a failed exchange. */
export async function releaseExchange(sql: Sql, id: string): Promise<void> {
  await sql.rows(
    "UPDATE keycloak_sessions SET exchanged_until = 'epoch', updated_at = now() WHERE id = ? RETURNING id",
    [id],
  );
}

/** Starts the next generation. @returns false when the session has ended or was rotated meanwhile */
export async function rotate(
  sql: Sql,
  session: { id: string; generation: number; tokensSealed: string; client: Client; idleSeconds: number },
): Promise<boolean> {
  const { client, ...bindings } = session;
  const done = await sql.rows(
    `UPDATE keycloak_sessions SET generation = generation + 1, tokens_sealed = :tokensSealed,
       exchanged_until = 'epoch', rotated_at = now(), updated_at = now(),
       expires_at = now() + :idleSeconds * interval '1 second',
       user_agent = coalesce(:userAgent, user_agent), ip = coalesce(:ip, ip)
     WHERE id = :id AND generation = :generation AND ${LIVE} RETURNING id`,
    { ...bindings, userAgent: client.userAgent ?? null, ip: client.ip ?? null },
  );
  return done.length === 1;
}

export async function liveSessions(sql: Sql, accountId: string): Promise<ProviderSession[]> {
  return sql.rows<ProviderSession>(
    `SELECT id, created_at, rotated_at AS last_used_at, user_agent, ip FROM keycloak_sessions
     WHERE account_id = ? AND ${LIVE} ORDER BY rotated_at DESC, id DESC`,
    [accountId],
  );
}

/** @returns Keycloak's id of the session; undefined if the account never had such a session */
export async function endOneSession(sql: Sql, accountId: string, id: string): Promise<string | undefined> {
  const [ended] = await sql.rows<{ keycloakId: string }>(
    `UPDATE keycloak_sessions SET ended_at = coalesce(ended_at, now()), updated_at = now()
     WHERE id = ? AND account_id = ? RETURNING ${KEYCLOAK_ID}`,
    [id, accountId],
  );
  return ended?.keycloakId;
}

export async function endAllSessions(sql: Sql, accountId: string, except?: string): Promise<string[]> {
  const ended = await sql.rows<{ id: string }>(
    `UPDATE keycloak_sessions SET ended_at = now(), updated_at = now() WHERE id = ANY (ARRAY(
       SELECT id FROM keycloak_sessions WHERE account_id = ? AND ended_at IS NULL AND id IS DISTINCT FROM ?::uuid
       ORDER BY id FOR UPDATE)) RETURNING id`,
    [accountId, except ?? null],
  );
  return ended.map(({ id }) => id);
}

/** Marks sessions as closed at Keycloak. */
export async function markClosed(sql: Sql, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  await sql.rows(
    `UPDATE keycloak_sessions SET closed = true, updated_at = now() WHERE id = ANY (ARRAY(
       SELECT id FROM keycloak_sessions WHERE id = ANY(?) AND ended_at IS NOT NULL ORDER BY id FOR UPDATE))
     RETURNING id`,
    [ids],
  );
}

/** Keycloak's ids of ended sessions that are still open there. */
export async function unclosedSessions(sql: Sql, limit: number): Promise<string[]> {
  const found = await sql.rows<{ keycloakId: string }>(
    `SELECT ${KEYCLOAK_ID} FROM keycloak_sessions
     WHERE ended_at IS NOT NULL AND NOT closed ORDER BY ended_at LIMIT ?`,
    [limit],
  );
  return found.map(({ keycloakId }) => keycloakId);
}

export async function forgetSessions(sql: Sql, accountId: string): Promise<void> {
  await sql.rows(
    `DELETE FROM keycloak_sessions WHERE id = ANY (ARRAY(
       SELECT id FROM keycloak_sessions WHERE account_id = ? ORDER BY id FOR UPDATE)) RETURNING id`,
    [accountId],
  );
}

/**
 * Deletes up to `limit` sessions that ended a day ago. Until then, a reused token is distinguished from an invalid one.
 * @returns how many
 */
export async function sweepSessions(sql: Sql, limit: number): Promise<number> {
  const gone = await sql.rows(
    `DELETE FROM keycloak_sessions WHERE id = ANY (ARRAY(
       SELECT id FROM keycloak_sessions
       WHERE least(ended_at, expires_at) < now() - interval '1 day' AND told AND (closed OR ended_at IS NULL)
       ORDER BY least(ended_at, expires_at) LIMIT ? FOR UPDATE SKIP LOCKED)) RETURNING id`,
    [limit],
  );
  return gone.length;
}
