import type { Role } from "../../contracts/meta.ts";

/** The rights of a user: a role and, for partner staff, the partner. */
export interface Grant {
  role: Role;
  partnerId?: string;
  partnerAdmin?: boolean;
}

export interface NewAccount {
  /** In lower case. */
  email: string;
  password: string;
  /** Whether the address is confirmed. A user cannot sign in before. */
  confirmed: boolean;
  grant: Grant;
}

/** The client that uses a session, for the list that its owner sees. */
export interface Client {
  userAgent?: string | undefined;
  ip?: string | undefined;
}

export interface IssuedTokens {
  userId: string;
  sessionId: string;
  /** The rights in the access token. */
  grant: Grant;
  accessToken: string;
  refreshToken: string;
  /** Lifetime of the access token. */
  expiresInSeconds: number;
}

export interface ProviderSession {
  id: string;
  createdAt: string;
  lastUsedAt: string;
  userAgent?: string;
  ip?: string;
}

/** A session that has ended. */
export interface EndedSession {
  id: string;
  userId: string;
}

/** The owner of an account, as far as the provider knows. */
export interface AccountHolder {
  email: string;
  firstName?: string;
  lastName?: string;
}

/** A public signing key, RFC 7517. */
export interface SigningKey {
  kty: string;
  crv?: string;
  x?: string;
  y?: string;
  n?: string;
  e?: string;
  kid: string;
  alg: string;
  use: "sig";
}

export type IdentityErrorKind =
  /** Unknown address or wrong password. The error never shows which. */
  | "wrong_credentials"
  /** The password is right, but the address is not confirmed yet. */
  | "not_confirmed"
  /** Not a refresh token of ours. */
  | "token_invalid"
  /** A refresh token whose session has ended: signed out, expired, or ended now because of a reuse. */
  | "session_ended"
  | "email_taken"
  | "unknown_user"
  /** The new password breaks a rule of the provider. */
  | "password_refused"
  /** Too many passwords wait to be checked. */
  | "overloaded"
  /** The provider cannot be reached; a retry may succeed. */
  | "unavailable";

export class IdentityError extends Error {
  readonly kind: IdentityErrorKind;
  /** The session that ended because its refresh token was reused, where the provider knows it. */
  readonly reused?: { userId: string; sessionId: string } | undefined;

  /** @param detail for the log; default: the kind */
  constructor(
    kind: IdentityErrorKind,
    reused?: { userId: string; sessionId: string },
    detail: string = kind,
  ) {
    super(detail);
    this.kind = kind;
    this.reused = reused;
  }
}

/**
 * Manages accounts, passwords and sessions, and signs access tokens. Codes, profiles, invitations, limits and the audit
 * log belong to Waybill with every provider. Every method can fail with `unavailable`, and all may be repeated except
 * those that issue tokens.
 *
 * Access tokens are JWTs of type `at+jwt` whose claims contracts/claims.ts can read: `sub`, `sid`, `role` or
 * Keycloak's `realm_access.roles` and, for staff, `partner_id` and `partner_admin`; they live for 15 minutes at most.
 */
export interface IdentityProvider {
  /**
   * Creates an account. It replaces an account with the same, unconfirmed address, except for its id. An account with a
   * confirmed address stays unchanged: then `taken` is true. Both take the same time.
   * @throws password_refused, overloaded
   */
  register(account: NewAccount): Promise<{ userId: string; taken: boolean }>;
  /** Takes the same time for an unknown address. @throws wrong_credentials, not_confirmed, overloaded */
  signIn(email: string, password: string, client: Client): Promise<IssuedTokens>;
  /**
   * Exchanges a refresh token, which can be used once. A repeat within ten seconds, as after a lost answer, returns the
   * same successor; a later repeat ends the session.
   * @throws token_invalid, session_ended
   */
  refresh(refreshToken: string, client: Client): Promise<IssuedTokens>;
  /** The owner of an account, which may have been created elsewhere, such as in Keycloak's console. */
  holder(userId: string): Promise<AccountHolder | undefined>;
  /** @throws overloaded */
  checkPassword(userId: string, password: string): Promise<boolean>;
  /** @throws unknown_user, password_refused, overloaded */
  setPassword(userId: string, password: string): Promise<void>;
  /** @throws unknown_user */
  markConfirmed(userId: string): Promise<void>;
  /** The new address counts as confirmed. @throws unknown_user, email_taken */
  changeEmail(userId: string, email: string): Promise<void>;
  /** Takes effect in access tokens that are issued from now on. @throws unknown_user */
  setGrant(userId: string, grant: Grant): Promise<void>;
  /** The live sessions, the last used first. */
  sessions(userId: string): Promise<ProviderSession[]>;
  /** Ends a session. @returns whether the user has or had this session */
  endSession(userId: string, sessionId: string): Promise<boolean>;
  /** Ends all sessions of a user, but not `except`. @returns the ids of those that it ended */
  endSessions(userId: string, except?: string): Promise<string[]>;
  /** Up to `limit` ended or expired sessions, of all users or of one, that are not yet marked as published. */
  endedSessions(limit: number, userId?: string): Promise<EndedSession[]>;
  /** Marks ended sessions as published: the other services know them. */
  markPublished(sessionIds: readonly string[]): Promise<void>;
  /** Deletes the account, its sessions and all data about the person. No error for an unknown user. */
  remove(userId: string): Promise<void>;
  /** The keys that sign tokens, will sign them, or have signed a token that may still be valid. */
  keys(): Promise<SigningKey[]>;
  ping(): Promise<boolean>;
  /**
   * Does periodic work, such as rotating keys. Each replica calls it every few minutes.
   * @param stopping ends the work after the current step
   */
  maintain(stopping?: AbortSignal): Promise<void>;
}
