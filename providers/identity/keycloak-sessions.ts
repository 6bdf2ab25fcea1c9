import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { sessionIdOf } from "../../contracts/claims.ts";
import type { Clock } from "../../lib/clock.ts";
import { DecryptionError, decrypt, type EncryptionKeys, encrypt } from "../../lib/encryption.ts";
import { isId } from "../../lib/ids.ts";
import type { Sql } from "./built-in.repository.ts";
import { markPublished, unpublishedSessions } from "./ended-sessions.repository.ts";
import {
  claimExchange,
  endAllSessions,
  endOneSession,
  forgetSessions,
  insertSession,
  type KeycloakSessionRow,
  liveSessions,
  markClosed,
  releaseExchange,
  rotate,
  sessionById,
  sweepSessions,
  unclosedSessions,
} from "./keycloak.repository.ts";
import { deleteSession, sessionIds } from "./keycloak-accounts.ts";
import type { KeycloakCalls } from "./keycloak-calls.ts";
import { issued, type KeycloakTokens, keycloakSessionId, refreshGrant } from "./keycloak-tokens.ts";
import { type Client, IdentityError, type IdentityProvider, type IssuedTokens } from "./port.ts";
import { isGenuine, mintRefreshToken, readRefreshToken } from "./refresh-token.ts";

const SESSION_IDLE_SECONDS = 30 * 86_400;
const REFRESH_GRACE_SECONDS = 10;
const MAX_SESSIONS_PER_ACCOUNT = 50;
const SALT_BYTES = 16;
/** Longer than an exchange can take. The claim of a crashed process expires after it. */
const EXCHANGE_LEASE_SECONDS = 4;
const EXCHANGE_POLL_MS = 40;
const EXCHANGE_WAIT_MS = 1_200;
const CLOSE_BATCH = 100;
const SWEEP_BATCH = 1_000;

export interface KeycloakSessionsOptions {
  sql: Sql;
  encryptionKeys: EncryptionKeys;
  clock: Clock;
  /** Starts an operation at Keycloak. */
  begin: () => KeycloakCalls;
}

export interface KeycloakSessions
  extends Pick<
    IdentityProvider,
    "refresh" | "sessions" | "endSession" | "endSessions" | "endedSessions" | "markPublished"
  > {
  /** Stores a session that Keycloak has opened. */
  open(tokens: KeycloakTokens, client: Client): Promise<IssuedTokens>;
  /** Deletes the sessions of a deleted account. */
  forget(userId: string): Promise<void>;
  /** Closes ended sessions at Keycloak, and deletes sessions that ended long ago. */
  sweep(stopping?: AbortSignal): Promise<void>;
}

/**
 * Sessions of Keycloak. Its refresh tokens are stored here, encrypted; clients receive our own refresh tokens, which
 * rotate like those of the built-in provider. See docs/adr/0023-keycloak.md.
 */
export function keycloakSessions({
  sql,
  encryptionKeys,
  clock,
  begin,
}: KeycloakSessionsOptions): KeycloakSessions {
  const aadOf = (id: string, generation: number) => `keycloak_sessions/${id}/${generation}`;
  const encrypted = (tokens: KeycloakTokens, id: string, generation: number) =>
    encrypt(JSON.stringify(tokens), encryptionKeys, aadOf(id, generation));

  function tokensOf({ tokensSealed, id, generation }: KeycloakSessionRow): KeycloakTokens {
    try {
      return JSON.parse(decrypt(tokensSealed, encryptionKeys, aadOf(id, generation)));
    } catch (error) {
      if (error instanceof DecryptionError) throw new IdentityError("session_ended");
      throw error;
    }
  }

  /** Exchanges Keycloak's tokens of a session and issues our next refresh token. */
  async function exchange(
    calls: KeycloakCalls,
    session: KeycloakSessionRow,
    client: Client,
  ): Promise<IssuedTokens> {
    const { id, accountId, salt, generation } = session;
    const next = await refreshGrant(calls, tokensOf(session).refreshToken, clock).catch(async (error) => {
      await releaseExchange(sql, id);
      throw error;
    });
    if (!next) {
      await endOneSession(sql, accountId, id);
      throw new IdentityError("session_ended");
    }
    const tokensSealed = encrypted(next, id, generation + 1);
    if (!(await rotate(sql, { id, generation, tokensSealed, client, idleSeconds: SESSION_IDLE_SECONDS }))) {
      throw new IdentityError("session_ended");
    }
    return issued(
      next,
      mintRefreshToken({ sessionId: id, generation: generation + 1 }, salt, encryptionKeys),
    );
  }

  /** Closes ended sessions at Keycloak, by its own ids. The sweep repeats what fails. */
  async function close(keycloakIds: readonly string[]): Promise<void> {
    const calls = begin();
    const closed: string[] = [];
    for (const keycloakId of keycloakIds) {
      // If Keycloak refuses to close one session, the others are still closed.
      const done = await deleteSession(calls, keycloakId).then(() => true, unlessUnavailable(false));
      if (done) closed.push(sessionIdOf(keycloakId));
    }
    await markClosed(sql, closed);
  }

  return {
    async open(tokens, client) {
      const { sessionId: id, userId: accountId } = issued(tokens, "");
      const keycloakId = keycloakSessionId(tokens);
      const salt = randomBytes(SALT_BYTES).toString("base64url");
      const limits = { lifeSeconds: SESSION_IDLE_SECONDS, keep: MAX_SESSIONS_PER_ACCOUNT };
      const tokensSealed = encrypted(tokens, id, 0);
      await insertSession(sql, { id, keycloakId, accountId, salt, tokensSealed, client, ...limits });
      return issued(tokens, mintRefreshToken({ sessionId: id, generation: 0 }, salt, encryptionKeys));
    },

    async refresh(refreshToken, client) {
      const presented = readRefreshToken(refreshToken);
      const session = presented && (await sessionById(sql, presented.sessionId, REFRESH_GRACE_SECONDS));
      if (!session || !isGenuine(refreshToken, session.salt, encryptionKeys))
        throw new IdentityError("token_invalid");
      const { sessionId, generation } = presented;
      const calls = begin();
      const untilMs = performance.now() + EXCHANGE_WAIT_MS;
      for (;;) {
        if (await claimExchange(sql, { id: sessionId, generation, leaseSeconds: EXCHANGE_LEASE_SECONDS })) {
          return exchange(calls, session, client);
        }
        // Another request has exchanged or is exchanging the token, or the session has ended: read it again.
        const now = await sessionById(sql, sessionId, REFRESH_GRACE_SECONDS);
        if (!now?.live) throw new IdentityError("session_ended");
        if (now.generation === generation + 1 && now.inGrace) {
          const successor = { sessionId, generation: now.generation };
          return issued(tokensOf(now), mintRefreshToken(successor, now.salt, encryptionKeys), clock.now());
        }
        if (now.generation !== generation) {
          const keycloakId = await endOneSession(sql, now.accountId, sessionId);
          if (keycloakId) await close([keycloakId]);
          throw new IdentityError("session_ended", { userId: now.accountId, sessionId });
        }
        if (performance.now() > untilMs) throw new IdentityError("unavailable");
        await delay(EXCHANGE_POLL_MS);
      }
    },

    async sessions(userId) {
      const ours = await liveSessions(sql, userId);
      if (ours.length === 0) return [];
      const known = new Set((await sessionIds(begin(), userId)).map(sessionIdOf));
      return ours.filter(({ id }) => known.has(id));
    },

    async endSession(userId, sessionId) {
      const keycloakId = isId(sessionId) && (await endOneSession(sql, userId, sessionId));
      if (!keycloakId) return false;
      await close([keycloakId]);
      return true;
    },

    async endSessions(userId, except) {
      const ended = await endAllSessions(sql, userId, except);
      // Includes sessions that were opened a moment ago and are not stored here yet.
      const known = await sessionIds(begin(), userId).catch(unlessUnavailable<string[]>([]));
      await close(known.filter((id) => sessionIdOf(id) !== except));
      return ended;
    },

    endedSessions: (limit, userId) => unpublishedSessions(sql, "keycloak_sessions", limit, userId),
    markPublished: (ids) => markPublished(sql, "keycloak_sessions", ids),
    forget: (userId) => forgetSessions(sql, userId),

    async sweep(stopping) {
      await close(await unclosedSessions(sql, CLOSE_BATCH));
      while (!stopping?.aborted && (await sweepSessions(sql, SWEEP_BATCH)) === SWEEP_BATCH);
    },
  };
}

/** For `catch`: returns `instead` while Keycloak is unavailable. */
function unlessUnavailable<T>(instead: T): (error: unknown) => T {
  return (error) => {
    if (error instanceof IdentityError && error.kind === "unavailable") return instead;
    throw error;
  };
}
