import { randomBytes } from "node:crypto";
import { SignJWT } from "jose";
import { type Clock, systemClock } from "../../lib/clock.ts";
import type { EncryptionKeys } from "../../lib/encryption.ts";
import { newId } from "../../lib/ids.ts";
import {
  type AccountRow,
  accountByEmail,
  accountById,
  answers,
  deleteAccount,
  endAllSessions,
  endOneSession,
  insertSession,
  liveSessions,
  rotate,
  type Sql,
  saveAccount,
  sessionById,
  setAccountGrant,
  setConfirmed,
  setEmail,
  setPasswordHash,
  sweepSessions,
} from "./built-in.repository.ts";
import { markPublished, unpublishedSessions } from "./ended-sessions.repository.ts";
import { type PasswordCost, passwordHasher } from "./password-hash.ts";
import { type Client, type Grant, IdentityError, type IdentityProvider, type IssuedTokens } from "./port.ts";
import { isGenuine, mintRefreshToken, readRefreshToken } from "./refresh-token.ts";
import { signingKeyStore } from "./signing-keys.ts";

const ACCESS_TOKEN_SECONDS = 600;
const SESSION_IDLE_SECONDS = 30 * 86_400;
const SESSION_LIFE_SECONDS = 180 * 86_400;
const REFRESH_GRACE_SECONDS = 10;
const MAX_SESSIONS_PER_ACCOUNT = 50;
const SALT_BYTES = 16;
const SWEEP_BATCH = 1_000;
const UNIQUE_VIOLATION = "23505";

export interface BuiltInOptions {
  sql: Sql;
  /** Encrypt the signing keys; the key of the refresh tokens is derived from them. */
  encryptionKeys: EncryptionKeys;
  /** The `iss` of access tokens. */
  issuer: string;
  /** The `aud` of access tokens. */
  audience: string;
  clock?: Clock;
  passwordCost?: PasswordCost;
}

export interface BuiltInProvider extends IdentityProvider {
  /** Creates a signing key now. It signs as soon as every verifier has had time to load it. */
  rotateKeys(): Promise<void>;
}

/** The identity provider without a server of its own: accounts and sessions in PostgreSQL, argon2id, ES256. */
export function builtInProvider(options: BuiltInOptions): BuiltInProvider {
  const { sql, encryptionKeys, issuer, audience, clock = systemClock } = options;
  const passwords = passwordHasher(options.passwordCost);
  const keys = signingKeyStore(sql, encryptionKeys, clock);

  async function issue(account: AccountRow, sessionId: string, refreshToken: string): Promise<IssuedTokens> {
    const { kid, privateKey } = await keys.signer();
    const nowSeconds = Math.floor(clock.now() / 1000);
    const accessToken = await new SignJWT(claimsOf(account, sessionId))
      .setProtectedHeader({ alg: "ES256", typ: "at+jwt", kid })
      .setIssuer(issuer)
      .setAudience(audience)
      .setSubject(account.id)
      .setJti(newId())
      .setIssuedAt(nowSeconds)
      .setExpirationTime(nowSeconds + ACCESS_TOKEN_SECONDS)
      .sign(privateKey);
    return {
      userId: account.id,
      sessionId,
      grant: grantOf(account),
      accessToken,
      refreshToken,
      expiresInSeconds: ACCESS_TOKEN_SECONDS,
    };
  }

  async function openSession(account: AccountRow, client: Client): Promise<IssuedTokens> {
    const id = newId();
    const salt = randomBytes(SALT_BYTES).toString("base64url");
    const tokens = await issue(
      account,
      id,
      mintRefreshToken({ sessionId: id, generation: 0 }, salt, encryptionKeys),
    );
    const limits = { idleSeconds: SESSION_IDLE_SECONDS, keep: MAX_SESSIONS_PER_ACCOUNT };
    if (await insertSession(sql, { id, account, salt, client, ...limits })) return tokens;
    throw new IdentityError("wrong_credentials");
  }

  /** Tokens of the live generation, which follows the presented token. */
  async function successor(session: { id: string; accountId: string; salt: string }, generation: number) {
    const account = await accountById(sql, session.accountId);
    if (!account) throw new IdentityError("session_ended");
    const token = mintRefreshToken({ sessionId: session.id, generation }, session.salt, encryptionKeys);
    return issue(account, session.id, token);
  }

  return {
    async register({ email, password, confirmed, grant }) {
      const passwordHash = await passwords.hash(password);
      return saveAccount(sql, { id: newId(), email, passwordHash, confirmed, ...grant });
    },

    async signIn(email, password, client) {
      const account = await accountByEmail(sql, email);
      const right = await passwords.matches(password, account?.passwordHash);
      if (!account || !right) throw new IdentityError("wrong_credentials");
      if (!account.confirmed) throw new IdentityError("not_confirmed");
      if (!passwords.isOutdated(account.passwordHash)) return openSession(account, client);
      const passwordHash = await passwords.hash(password);
      await setPasswordHash(sql, account.id, passwordHash, account.passwordHash);
      return openSession({ ...account, passwordHash }, client);
    },

    async refresh(refreshToken, client) {
      const presented = readRefreshToken(refreshToken);
      const session = presented && (await sessionById(sql, presented.sessionId, REFRESH_GRACE_SECONDS));
      if (!session || !isGenuine(refreshToken, session.salt, encryptionKeys))
        throw new IdentityError("token_invalid");
      const { sessionId, generation } = presented;
      const limits = { idleSeconds: SESSION_IDLE_SECONDS, lifeSeconds: SESSION_LIFE_SECONDS };
      if (await rotate(sql, { id: sessionId, generation, client, ...limits })) {
        return successor(session, generation + 1);
      }
      // Another request rotated the session, or it has ended: read it again.
      const now = await sessionById(sql, sessionId, REFRESH_GRACE_SECONDS);
      if (!now?.live) throw new IdentityError("session_ended");
      if (now.generation === generation + 1 && now.inGrace) return successor(now, now.generation);
      await endOneSession(sql, now.accountId, sessionId);
      throw new IdentityError("session_ended", { userId: now.accountId, sessionId });
    },

    async holder(userId) {
      const account = await accountById(sql, userId);
      return account && { email: account.email };
    },

    async checkPassword(userId, password) {
      return passwords.matches(password, (await accountById(sql, userId))?.passwordHash);
    },

    async setPassword(userId, password) {
      const hash = await passwords.hash(password);
      if (!(await setPasswordHash(sql, userId, hash))) throw new IdentityError("unknown_user");
    },

    async markConfirmed(userId) {
      if (!(await setConfirmed(sql, userId))) throw new IdentityError("unknown_user");
    },

    async changeEmail(userId, email) {
      const outcome = await setEmail(sql, userId, email).catch((error) => {
        if ((error as { code?: string }).code === UNIQUE_VIOLATION) return "taken";
        throw error;
      });
      if (outcome === "taken") throw new IdentityError("email_taken");
      if (outcome === "unknown") throw new IdentityError("unknown_user");
    },

    async setGrant(userId, grant) {
      if (!(await setAccountGrant(sql, userId, grant))) throw new IdentityError("unknown_user");
    },

    sessions: (userId) => liveSessions(sql, userId),
    endSession: (userId, sessionId) => endOneSession(sql, userId, sessionId),
    endSessions: (userId, except) => endAllSessions(sql, userId, except),
    endedSessions: (limit, userId) => unpublishedSessions(sql, "sessions", limit, userId),
    markPublished: (ids) => markPublished(sql, "sessions", ids),
    remove: (userId) => deleteAccount(sql, userId),
    keys: () => keys.published(),
    ping: () => answers(sql),
    rotateKeys: () => keys.rotate({ atOnce: true }),

    async maintain(stopping) {
      await keys.rotate();
      while (!stopping?.aborted && (await sweepSessions(sql, SWEEP_BATCH)) === SWEEP_BATCH);
    },
  };
}

function grantOf({ role, partnerId, partnerAdmin }: AccountRow): Grant {
  return partnerId ? { role, partnerId, partnerAdmin: partnerAdmin ?? false } : { role };
}

function claimsOf({ role, partnerId, partnerAdmin }: AccountRow, sessionId: string) {
  const staff = partnerId && { partner_id: partnerId, partner_admin: partnerAdmin ?? false };
  return { sid: sessionId, role, ...staff };
}
