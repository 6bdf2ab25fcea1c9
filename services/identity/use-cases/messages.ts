import type { Account, Profile } from "../../../contracts/identity.ts";
import { mailAad, message, type NewMessage } from "../../../contracts/messages.ts";
import { type EncryptionKeys, encrypt } from "../../../lib/encryption.ts";
import type { ProfileRow, PushToken } from "../store/profiles.repository.ts";

/** The profile as its owner sees it. */
export function profileView(row: ProfileRow): Profile {
  const { hasAvatar, avatarVersion, partnerAdmin, pushToken: _, ...more } = row;
  const { suspendedAt: __, suspensionReason: ___, ...shown } = more;
  return {
    ...shown,
    ...(row.role === "partner" && { partnerAdmin }),
    ...(hasAvatar && { avatarVersion }),
  };
}

/** The account as operators see it. */
export function accountView(row: ProfileRow): Account {
  const { emailConfirmed, suspendedAt, suspensionReason } = row;
  return {
    ...profileView(row),
    state: suspendedAt ? "suspended" : emailConfirmed ? "active" : "unconfirmed",
    ...(suspendedAt && { suspendedAt }),
    ...(suspensionReason && { suspensionReason }),
  };
}

/** The snapshot of a user for the other services. */
export function userMessage(
  type: "user.registered" | "user.updated",
  row: ProfileRow,
  pushToken?: PushToken,
): NewMessage {
  const { id: userId, version, email, firstName, language, role, partnerId } = row;
  const suspended = row.suspendedAt !== undefined && { suspended: true };
  const data = {
    ...{ version, userId, email, firstName, language, role },
    ...suspended,
    ...(partnerId && { partnerId }),
    ...(pushToken && { pushToken }),
  };
  return message(type, userId, data);
}

/** A push token of the session that registered it. */
export function deviceMessage(
  { id: userId, version, language }: Pick<ProfileRow, "id" | "version" | "language">,
  sessionId: string,
  pushToken: PushToken,
): NewMessage {
  return message("user.device_added", userId, { version, userId, sessionId, language, ...pushToken });
}

/** The templates of notifications that this service uses. */
export type MailTemplate =
  | "confirm-email"
  | "account-exists"
  | "reset-password"
  | "password-changed"
  | "change-email"
  | "email-changed"
  | "invitation";

export interface Mail {
  template: MailTemplate;
  email: string;
  language: string;
  /** The message's user, so that an erasure finds it. */
  userId?: string;
  /** The subject of the message when it has no user. Default: the template. */
  subject?: string;
  /** A code or token with its details. Encrypted, since a message stays in tables and streams for days. */
  values?: Record<string, string>;
}

/** A request for a mail. Its version is always 1, since each is sent independently. */
export function mailMessage(
  { encryptionKeys }: { encryptionKeys: EncryptionKeys },
  { template, email, language, userId, subject, values }: Mail,
): NewMessage {
  const about = userId ?? subject ?? template;
  return message("notification.requested", about, {
    version: 1,
    ...(userId && { userId }),
    email,
    template,
    language,
    values: {},
    ...(values && {
      sealed: encrypt(JSON.stringify(values), encryptionKeys, mailAad({ template, email })),
    }),
  });
}
