import type { Role } from "../../contracts/meta.ts";

/** What somebody may do: a role and, for staff, the partner that it holds for. */
export interface Grant {
  role: Role;
  partnerId?: string;
  partnerAdmin?: boolean;
}

export interface NewAccount {
  /** In lower case. */
  email: string;
  password: string;
  /** Whether the address is proved already; nobody signs in before it is. */
  confirmed: boolean;
  grant: Grant;
}

/** Where a session is used from, for the list that its owner sees. */
export interface Client {
  userAgent?: string | undefined;
  ip?: string | undefined;
}

export interface IssuedTokens {
  userId: string;
  sessionId: string;
  /** What the access token says that the user may do. */
  grant: Grant;
  accessToken: string;
  refreshToken: string;
  /** Of the access token. */
  expiresInSeconds: number;
}

export interface ProviderSession {
  id: string;
  createdAt: string;
  lastUsedAt: string;
  userAgent?: string;
  ip?: string;
}

/** A session that is over. */
export interface EndedSession {
  id: string;
  userId: string;
}

/** Who an account belongs to, as far as the provider knows. */
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
  /** No such address, or another password: never told apart. */
  | "wrong_credentials"
  /** The password is right, but the address is not proved yet. */
  | "not_confirmed"
  /** This is no refresh token of ours. */
  | "token_invalid"
  /** It was one, but its session is over: signed out, expired, or ended just now because of a re-use. */
  | "session_ended"
  | "email_taken"
  | "unknown_user"
  /** The provider has a rule of its own that the new password breaks. */
  | "password_refused"
  /** More passwords are waiting to be checked than can be in time. */
  | "overloaded"
  /** The provider cannot be reached; a later try may succeed. */
  | "unavailable";

export class IdentityError extends Error {
  readonly kind: IdentityErrorKind;
  /** The session that a re-used refresh token ended, where the provider can tell. */
  readonly reused?: { userId: string; sessionId: string } | undefined;

  /** @param detail for the log, where the kind alone would not help an operator */
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
 * Keeps accounts, passwords and sessions, and signs access tokens. Codes, profiles, invitations, limits and the
 * audit log are Waybill's own with every provider. Every method can fail with `unavailable`, and all but the
 * ones that issue tokens may be repeated.
 *
 * Access tokens are JWTs of type `at+jwt` whose claims contracts/claims.ts can read: `sub`, `sid`, `role` or
 * Keycloak's `realm_access.roles` and, for staff, `partner_id` and `partner_admin`; they live for 15 minutes at most.
 */
export interface IdentityProvider {
  /**
   * Makes the account. One whose address was never proved gives way to it and keeps but its id; one whose
   * address was proved is left as it is, and the answer says so after the same time. @throws password_refused, overloaded
   */
  register(account: NewAccount): Promise<{ userId: string; taken: boolean }>;
  /** Takes the same time for an unknown address. @throws wrong_credentials, not_confirmed, overloaded */
  signIn(email: string, password: string, client: Client): Promise<IssuedTokens>;
  /**
   * Exchanges a refresh token, which then is used up. Whoever repeats it within ten seconds, because the answer
   * was lost, gets the same successor; whoever comes later ends the session.
   * @throws token_invalid, session_ended
   */
  refresh(refreshToken: string, client: Client): Promise<IssuedTokens>;
  /** Who it is; accounts may have been made elsewhere, as in Keycloak's own console. */
  holder(userId: string): Promise<AccountHolder | undefined>;
  /** @throws overloaded */
  checkPassword(userId: string, password: string): Promise<boolean>;
  /** @throws unknown_user, password_refused, overloaded */
  setPassword(userId: string, password: string): Promise<void>;
  /** @throws unknown_user */
  markConfirmed(userId: string): Promise<void>;
  /** The new address is taken to be proved. @throws unknown_user, email_taken */
  changeEmail(userId: string, email: string): Promise<void>;
  /** Shows in access tokens that are issued from now on. @throws unknown_user */
  setGrant(userId: string, grant: Grant): Promise<void>;
  /** Those that are live, the last used first. */
  sessions(userId: string): Promise<ProviderSession[]>;
  /** Whether the user has, or had, such a session; it is over now. */
  endSession(userId: string, sessionId: string): Promise<boolean>;
  /** Ends all sessions of a user. @returns the ids of those that it ended */
  endSessions(userId: string, except?: string): Promise<string[]>;
  /**
   * Up to `limit` sessions that are over, by whatever ended them, their time included, and that are not marked as told;
   * those of one user alone where one is named.
   */
  endedSessions(limit: number, userId?: string): Promise<EndedSession[]>;
  /** The others know that these are over. */
  markTold(sessionIds: readonly string[]): Promise<void>;
  /** Forgets the account, its sessions and everything it knows of the person; no error when there is none. */
  remove(userId: string): Promise<void>;
  /** Those that sign, will sign or did sign a token that may still be live. */
  keys(): Promise<SigningKey[]>;
  ping(): Promise<boolean>;
  /**
   * Does periodic work, such as changing keys; each replica calls it every few minutes.
   * @param stopping ends it between two pieces of work
   */
  maintain(stopping?: AbortSignal): Promise<void>;
}
