import type { Sql } from "./built-in.repository.ts";
import type { EndedSession } from "./port.ts";

/** The tables of both providers have the same columns for the end of a session. */
export type SessionTable = "sessions" | "keycloak_sessions";

/** Ended sessions that are not yet published to the other services. */
export async function unpublishedSessions(
  sql: Sql,
  table: SessionTable,
  limit: number,
  accountId?: string,
): Promise<EndedSession[]> {
  return sql.rows<EndedSession>(
    `SELECT id, account_id AS user_id FROM ${table}
     WHERE NOT told AND least(ended_at, expires_at) <= now() ${accountId ? "AND account_id = ?" : ""}
     ORDER BY least(ended_at, expires_at) LIMIT ?`,
    [...(accountId ? [accountId] : []), limit],
  );
}

/** Marks those of the sessions that have ended. */
export async function markPublished(sql: Sql, table: SessionTable, ids: readonly string[]): Promise<void> {
  await sql.rows(
    `UPDATE ${table} SET told = true, updated_at = now() WHERE id = ANY (ARRAY(
       SELECT id FROM ${table} WHERE id = ANY(?) AND least(ended_at, expires_at) <= now() ORDER BY id FOR UPDATE))`,
    [ids],
  );
}
