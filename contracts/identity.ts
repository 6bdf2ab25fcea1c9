import { action } from "./action.ts";
import { role } from "./roles.ts";
import {
  array,
  boolean,
  clearable,
  email,
  type Infer,
  integer,
  listOf,
  matching,
  NO_NUL,
  nothing,
  object,
  oneOf,
  optional,
  page,
  paging,
  stored,
  text,
  time,
  uuid,
  version,
} from "./schema.ts";
import { language, personName, phone, sessionId } from "./shared.ts";

const anyText = { type: "string", max: 128, pattern: NO_NUL } as const;
/** NIST SP 800-63B: length counts, composition rules do not. */
const password = { ...anyText, min: 8 } as const;
/** A password in a sign-in: it may be older than the present rules. */
const givenPassword = { ...anyText, min: 1 } as const;
const code = matching(/^\d{6}$/, 6, "six digits");
const birthDate = matching(/^\d{4}-\d\d-\d\d$/, 10, "a date, as 1990-05-17");

export const pushToken = object({
  provider: oneOf("onesignal", "fcm", "apns", "webpush", "sandbox"),
  token: text(4096),
  deviceName: optional(text(100)),
});

/** Some people have no last name: an empty text removes it. A text of spaces only is refused. */
const lastName = {
  ...personName,
  min: 0,
  trim: false,
  pattern: new RegExp(`^\\s*${personName.pattern.source.slice(1, -1)}\\s*$|^$`, "u"),
  custom: (value: unknown) => (typeof value === "string" ? value.trim() : value),
} as const;

const profileFields = {
  firstName: personName,
  lastName: optional(lastName),
  phone: optional(phone),
  birthDate: optional(birthDate),
  language: optional(language),
} as const;

export const profile = object({
  id: uuid,
  email: text(254),
  ...stored(object(profileFields)).props,
  /** Empty for a user without a last name. */
  lastName: stored(text(100, 0)),
  language: stored(language),
  role,
  partnerId: optional(uuid),
  /** Staff who may invite others of their partner. */
  partnerAdmin: optional(boolean),
  emailConfirmed: boolean,
  /** A new address that is not confirmed by its code yet. */
  pendingEmail: optional(text(254)),
  avatarVersion: optional(version),
  version,
  createdAt: time,
});
export type Profile = Infer<typeof profile>;

/** `unconfirmed`: the e-mail address is not confirmed by its code yet. */
export const accountState = oneOf("unconfirmed", "active", "suspended");
/** An account as operators see it. */
export const account = object({
  ...profile.props,
  state: accountState,
  suspendedAt: optional(time),
  suspensionReason: optional(text(500)),
});
export type Account = Infer<typeof account>;

const invitedRole = oneOf("deliverer", "partner", "support", "finance", "admin");

export const invitation = object({
  id: uuid,
  email: text(254),
  role: invitedRole,
  partnerId: optional(uuid),
  partnerAdmin: optional(boolean),
  state: oneOf("open", "accepted", "expired", "withdrawn"),
  invitedBy: uuid,
  acceptedBy: optional(uuid),
  expiresAt: time,
  createdAt: time,
});

export const tokens = object({
  accessToken: text(8192),
  tokenType: oneOf("Bearer"),
  expiresInSeconds: integer(1, 86_400),
  refreshToken: text(8192),
});
export type Tokens = Infer<typeof tokens>;

export const session = object({
  id: sessionId,
  current: boolean,
  createdAt: time,
  lastUsedAt: time,
  userAgent: optional(text(300)),
  ip: optional(text(45)),
});

/** A public signing key, RFC 7517. */
export const publicKey = object({
  kty: text(10),
  crv: optional(text(20)),
  x: optional(text(200)),
  y: optional(text(200)),
  n: optional(text(2000)),
  e: optional(text(20)),
  kid: text(200),
  alg: text(20),
  use: oneOf("sig"),
});

export const auditEntry = object({
  id: uuid,
  at: time,
  actorId: optional(uuid),
  action: text(60),
  subject: text(200),
  detail: optional(text(2000)),
  ip: optional(text(45)),
});

export const identityActions = {
  "identity.register": action(
    object({ email, password, ...profileFields, pushToken: optional(pushToken) }),
    object({ userId: uuid, email: text(254) }),
  ),
  /** With `password`: confirms only the registration that was made with this password. */
  "identity.confirm": action(object({ email, code, password: optional(givenPassword) }), nothing),
  /** Gives the same answer for an unknown address, so that it does not reveal registered addresses. */
  "identity.resendCode": action(object({ email }), nothing),
  "identity.signIn": action(
    object({
      email,
      password: givenPassword,
      userAgent: optional(text(300)),
    }),
    tokens,
  ),
  "identity.refresh": action(object({ refreshToken: text(8192) }), tokens),
  "identity.sessions": action(object({}), object({ items: listOf(session) }), { idempotent: true }),
  "identity.signOut": action(object({ sessionId: optional(sessionId) }), nothing, { idempotent: true }),
  "identity.signOutEverywhere": action(object({}), nothing, { idempotent: true }),
  "identity.forgotPassword": action(object({ email }), nothing),
  "identity.resetPassword": action(object({ email, code, password }), nothing),
  "identity.changePassword": action(
    object({ currentPassword: givenPassword, newPassword: password }),
    nothing,
  ),
  "identity.profile": action(object({}), profile, { idempotent: true }),
  "identity.updateProfile": action(
    object({
      expectedVersion: optional(version),
      firstName: optional(personName),
      lastName: clearable(lastName),
      phone: clearable(phone),
      birthDate: clearable(birthDate),
      language: optional(language),
      /** Takes effect when the code that is sent there comes back; needs `currentPassword`. */
      email: optional(email),
      currentPassword: optional(givenPassword),
      pushToken: optional(pushToken),
    }),
    profile,
  ),
  "identity.confirmEmail": action(object({ code }), profile),
  /** Uses the token from the link that was sent to the former address. */
  "identity.undoEmailChange": action(object({ token: text(200), newPassword: optional(password) }), nothing),
  /** `confirm`: deletes the account in spite of orders that have not ended. */
  "identity.deleteAccount": action(object({ password: givenPassword, confirm: optional(boolean) }), nothing),
  "identity.invite": action(
    object({
      email,
      role: invitedRole,
      partnerId: optional(uuid),
      partnerAdmin: optional(boolean),
    }),
    object({ invitationId: uuid, expiresAt: time }),
  ),
  /** Newest first: all for an admin, those of the own partner for its admins. */
  "identity.invitations": action(
    object({ ...paging, state: optional(invitation.props.state) }),
    page(invitation),
    {
      idempotent: true,
    },
  ),
  "identity.withdrawInvitation": action(object({ invitationId: uuid }), nothing, { idempotent: true }),
  /** Sends a new token, which replaces the former one. */
  "identity.resendInvitation": action(
    object({ invitationId: uuid }),
    object({ invitationId: uuid, expiresAt: time }),
  ),
  /** Newest first. `q`: words that begin words of the name, the address or the phone number. */
  "identity.users": action(
    object({
      ...paging,
      role: optional(role),
      state: optional(accountState),
      partnerId: optional(uuid),
      q: optional(text(100, 3)),
    }),
    page(account),
    { idempotent: true },
  ),
  /** With the newest entries of the audit log in which the user is actor or subject. */
  "identity.user": action(object({ userId: uuid }), object({ user: account, audit: listOf(auditEntry) }), {
    idempotent: true,
  }),
  "identity.userSessions": action(object({ userId: uuid }), object({ items: listOf(session) }), {
    idempotent: true,
  }),
  /** Ends the sessions, and refuses sign-in until the account is restored. */
  "identity.suspendUser": action(object({ userId: uuid, reason: text(500) }), account),
  "identity.restoreUser": action(object({ userId: uuid }), account),
  "identity.setRole": action(
    object({
      userId: uuid,
      expectedVersion: optional(version),
      role,
      partnerId: optional(uuid),
      partnerAdmin: optional(boolean),
    }),
    account,
  ),
  /** Makes the user a customer. */
  "identity.removeRole": action(object({ userId: uuid }), account, { idempotent: true }),
  "identity.endUserSession": action(object({ userId: uuid, sessionId }), nothing, { idempotent: true }),
  "identity.endUserSessions": action(object({ userId: uuid }), nothing, { idempotent: true }),
  /** If the address has an account, `password` must be that account's password, and the account keeps its name. */
  "identity.acceptInvitation": action(
    object({
      token: text(200),
      password,
      firstName: personName,
      lastName: optional(lastName),
      phone: optional(phone),
      language: optional(language),
    }),
    object({ userId: uuid, email: text(254) }),
  ),
  /** For Orders, on behalf of an operator. `role` is absent unless the account is active. */
  "identity.findRole": action(object({ userId: uuid }), object({ role: optional(role) }), {
    idempotent: true,
  }),
  /** For Orders, on behalf of an operator. Unknown users are absent. */
  "identity.names": action(
    object({ userIds: array(uuid, { max: 100 }) }),
    object({ items: listOf(object({ id: uuid, name: text(201) })) }),
    { idempotent: true },
  ),
  "identity.setAvatar": action(object({ present: boolean }), profile),
  /** Newest first. */
  "identity.audit": action(object(paging), page(auditEntry), { idempotent: true }),
  /**
   * Creates the first admin. Only the launcher calls it, on identity's own node; it has no route. For an admin that
   * exists, it changes nothing, not even the password.
   */
  "identity.createAdmin": action(object({ email, password }), object({ userId: uuid, created: boolean })),
  "identity.jwks": action(object({}), object({ keys: listOf(publicKey) }), { idempotent: true }),
} as const;
