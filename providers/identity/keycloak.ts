import { setTimeout as delay } from "node:timers/promises";
import { systemClock } from "../../lib/clock.ts";
import type { EncryptionKeys } from "../../lib/encryption.ts";
import type { Sql } from "./built-in.repository.ts";
import {
  changeGrant,
  createUser,
  deleteUser,
  type KeycloakUser,
  resetPassword,
  updateUser,
  userByEmail,
  userById,
} from "./keycloak-accounts.ts";
import { type KeycloakCalls, type KeycloakOptions, keycloakCalls } from "./keycloak-calls.ts";
import { keycloakSessions } from "./keycloak-sessions.ts";
import { nobody, passwordGrant } from "./keycloak-tokens.ts";
import { IdentityError, type IdentityProvider, type NewAccount, type SigningKey } from "./port.ts";

/** Minimum time of a registration, so that its time does not show whether the account exists. */
const REGISTER_MIN_MS = 250;
const FASTER_ONE_TRIES = 10;
const FASTER_ONE_POLL_MS = 60;

export interface KeycloakProviderOptions extends KeycloakOptions {
  /** Stores what Keycloak does not: generations of refresh tokens, and clients of sessions. */
  sql: Sql;
  /** The `iss` that every service expects; must equal the issuer of Keycloak's realm. */
  issuer: string;
  /** Encrypt Keycloak's tokens; the key of the clients' refresh tokens is derived from them. */
  encryptionKeys: EncryptionKeys;
}

/** Accounts, passwords, roles and signing keys of a Keycloak realm (deploy/keycloak/waybill-realm.json). */
export function keycloakProvider(options: KeycloakProviderOptions): IdentityProvider {
  const { sql, issuer, encryptionKeys, clock = systemClock } = options;
  const begin = keycloakCalls(options);
  const { open, forget, sweep, ...sessions } = keycloakSessions({ sql, encryptionKeys, clock, begin });
  let lastKeys: SigningKey[] | undefined;

  async function registered(calls: KeycloakCalls, account: NewAccount) {
    const { email, password, grant, confirmed } = account;
    let present = await userByEmail(calls, email);
    if (!present) {
      const userId = await createUser(calls, account);
      if (userId) return { userId, taken: false };
      present = await userByEmail(calls, email);
      // The faster request may not have committed yet.
      for (let left = FASTER_ONE_TRIES; !present && left > 0; left--) {
        await delay(FASTER_ONE_POLL_MS);
        present = await userByEmail(calls, email);
      }
    }
    if (!present) throw new IdentityError("unavailable"); // deleted meanwhile, or refused for another reason
    const userId = present.id;
    if (present.emailVerified) {
      await passwordGrant(calls, nobody(), password, clock).catch(() => undefined);
      return { userId, taken: true };
    }
    await resetPassword(calls, userId, password);
    await changeGrant(calls, userId, grant);
    if (confirmed) await updateUser(calls, userId, confirmedNow);
    return { userId, taken: false };
  }

  return {
    ...sessions,

    async register(account) {
      const earliest = delay(REGISTER_MIN_MS);
      const made = await registered(begin(), account);
      await earliest;
      return made;
    },

    async signIn(email, password, client) {
      return open(await passwordGrant(begin(), email, password, clock), client);
    },

    async holder(userId) {
      const user = await userById(begin(), userId);
      if (!user?.email) return undefined;
      const { email, firstName, lastName } = user;
      return { email, ...(firstName && { firstName }), ...(lastName && { lastName }) };
    },

    async checkPassword(userId, password) {
      const calls = begin();
      const user = await userById(calls, userId);
      try {
        const tokens = await passwordGrant(calls, user?.username ?? nobody(), password, clock);
        await calls.logOut(tokens.refreshToken).catch(() => undefined);
        return true;
      } catch (error) {
        const { kind } = error as IdentityError;
        if (kind === "not_confirmed") return true;
        if (kind === "wrong_credentials") return false;
        throw error;
      }
    },

    setPassword: (userId, password) => resetPassword(begin(), userId, password),
    markConfirmed: (userId) => updateUser(begin(), userId, confirmedNow),
    changeEmail: (userId, email) =>
      updateUser(begin(), userId, (user) => ({ ...confirmedNow(user), email, username: email })),
    setGrant: (userId, grant) => changeGrant(begin(), userId, grant),

    async remove(userId) {
      await deleteUser(begin(), userId);
      await forget(userId);
    },

    async keys() {
      try {
        lastKeys = await publishedKeys(begin());
        return lastKeys;
      } catch (error) {
        if (lastKeys) return lastKeys;
        throw error;
      }
    },

    async ping() {
      const asked = issuerOf(begin());
      return asked.then(
        () => true,
        () => false,
      );
    },

    async maintain(stopping) {
      const calls = begin();
      const named = await issuerOf(calls);
      if (named !== issuer) {
        throw new Error(`Keycloak's issuer is ${named}, Waybill expects ${issuer}: see KEYCLOAK_ISSUER`);
      }
      await calls.admin("GET", "/users/count"); // so that a wrong secret shows in the log before a customer signs in
      await sweep(stopping);
    },
  };
}

function confirmedNow({ requiredActions = [] }: KeycloakUser) {
  return {
    emailVerified: true,
    requiredActions: requiredActions.filter((action) => action !== "VERIFY_EMAIL"),
  };
}

async function issuerOf(calls: KeycloakCalls): Promise<string | undefined> {
  return ((await calls.published("/.well-known/openid-configuration")) as { issuer?: string }).issuer;
}

/** @throws unavailable for a set without a key for access tokens, so that the caller keeps the previous set */
async function publishedKeys(calls: KeycloakCalls): Promise<SigningKey[]> {
  const { keys } = (await calls.published("/protocol/openid-connect/certs")) as { keys?: SigningKey[] };
  const usable = (keys ?? []).filter(({ use, kty }) => use === "sig" && (kty === "EC" || kty === "OKP"));
  if (usable.length === 0) throw new IdentityError("unavailable");
  return usable.map(publicHalf);
}

/** The public key without the certificates that Keycloak adds. */
function publicHalf({ kty, crv, x, y, kid, alg }: SigningKey): SigningKey {
  return { kty, kid, alg, use: "sig", ...(crv && { crv }), ...(x && { x }), ...(y && { y }) };
}
