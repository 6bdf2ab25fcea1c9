import { createHmac, hkdfSync } from "node:crypto";
import type { Context } from "moleculer";
import { fail, typeOf } from "../../contracts/errors.ts";
import type { Clock } from "../../lib/clock.ts";
import type { EncryptionKeys } from "../../lib/encryption.ts";
import { tokenIssuer } from "../../lib/settings/issuer.ts";
import type { Settings } from "../../lib/settings/settings.ts";
import { type Database, type Db, rows } from "../../lib/sql/database.ts";
import { AUDIENCE } from "../../mixins/caller/token-verifier.ts";
import type { Outbox } from "../../mixins/outbox/outbox.mixin.ts";
import type { Postgres } from "../../mixins/postgres/postgres.mixin.ts";
import {
  builtInProvider,
  IdentityError,
  type IdentityErrorKind,
  type IdentityProvider,
  keycloakProvider,
  type Sql,
} from "../../providers/identity/index.ts";

/** The dependencies of all handlers of this service. */
export interface IdentityDependencies {
  postgres: Postgres;
  outbox: Outbox;
  provider: IdentityProvider;
  clock: Clock;
  /** Time limit of a request. */
  requestTimeoutMs: number;
  /** A keyed digest (HMAC), so that codes and addresses cannot be recovered from it. */
  digest: (...texts: string[]) => string;
  /** The public address of the platform, for links in mails. */
  publicUrl: string;
  /** Encrypt the codes and tokens in messages to notifications, and stored registrations. */
  encryptionKeys: EncryptionKeys;
}

export function digestUnder(secret: string): IdentityDependencies["digest"] {
  const key = Buffer.from(hkdfSync("sha256", secret, "", "waybill identity digest", 32));
  return (...texts) => createHmac("sha256", key).update(JSON.stringify(texts)).digest("base64url");
}

/** The identity provider: Keycloak if the settings name one, otherwise the built-in one in the service's database. */
export function providerOf(config: Settings, clock: Clock): (sql: Sql) => IdentityProvider {
  const encryptionKeys = { secret: config.SEAL_SECRET, previousSecret: config.SEAL_SECRET_PREVIOUS };
  const issuer = tokenIssuer(config);
  if (!config.KEYCLOAK_URL) {
    return (sql) => builtInProvider({ sql, encryptionKeys, issuer, audience: AUDIENCE, clock });
  }
  const server = {
    url: config.KEYCLOAK_URL,
    realm: config.KEYCLOAK_REALM,
    clientId: config.KEYCLOAK_CLIENT_ID,
    budgetMs: config.KEYCLOAK_TIMEOUT_MS,
    clientSecret: config.KEYCLOAK_CLIENT_SECRET ?? "", // lib/settings/required-settings.ts requires it
  };
  return (sql) => keycloakProvider({ ...server, sql, encryptionKeys, issuer, clock });
}

/** Gives the provider access to this service's database. Providers do not import mixins. */
export function providerSql(db: () => Db): Sql {
  return {
    rows: (sql, bindings) => rows(db(), sql, bindings),
    transact: (work) => (db() as Database).transaction((trx) => work(providerSql(() => trx))),
  };
}

/** Broadcasts to every node that the tokens of these sessions are revoked. */
export async function broadcastRevoked(ctx: Context, sessionIds: readonly string[]): Promise<void> {
  await Promise.all(sessionIds.map((sessionId) => ctx.broadcast("session.revoked", { sessionId })));
}

const catalogueErrors: Record<IdentityErrorKind, () => Error> = {
  wrong_credentials: () => fail("INVALID_CREDENTIALS"),
  not_confirmed: () => fail("EMAIL_NOT_CONFIRMED", "Enter the code that was sent to your address."),
  token_invalid: () => fail("UNAUTHENTICATED", "The refresh token is not valid."),
  session_ended: () => fail("SESSION_REVOKED", "Sign in again."),
  email_taken: () => fail("EMAIL_TAKEN"),
  unknown_user: () => fail("NOT_FOUND"),
  password_refused: () => fail("PASSWORD_TOO_COMMON", "The identity provider has a rule that it breaks."),
  overloaded: () => fail("OVERLOADED"),
  unavailable: () => fail("SERVICE_UNAVAILABLE", "The identity provider cannot be reached."),
};

/** Translates an error of the provider into one of the catalogue. Other errors are returned as they are. */
export function toFailure(error: unknown): unknown {
  if (typeOf(error) !== undefined) return error;
  if (error instanceof IdentityError) return catalogueErrors[error.kind]();
  return error;
}

/** Whether it is an error of the provider of this kind. */
export function isKind(error: unknown, kind: IdentityErrorKind): error is IdentityError {
  return error instanceof IdentityError && error.kind === kind;
}
