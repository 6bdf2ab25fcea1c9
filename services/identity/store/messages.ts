import type { Profile } from "../../../contracts/identity.ts";
import { mailSealPlace, message, type NewMessage } from "../../../contracts/messages.ts";
import { type EncryptionKeys, encrypt } from "../../../lib/encryption.ts";
import type { ProfileRow, PushToken } from "./profiles.repository.ts";

/** The profile as its owner sees it. */
export function profileView(row: ProfileRow): Profile {
  const { hasAvatar, avatarVersion, partnerAdmin, pushToken: _, ...shown } = row;
  return {
    ...shown,
    ...(row.role === "partner" && { partnerAdmin }),
    ...(hasAvatar && { avatarVersion }),
  };
}

/** The snapshot that others keep of a user. */
export function userMessage(
  type: "user.registered" | "user.updated",
  row: ProfileRow,
  pushToken?: PushToken,
): NewMessage {
  const { id: userId, version, email, firstName, language, role } = row;
  const data = { version, userId, email, firstName, language, role, ...(pushToken && { pushToken }) };
  return message(type, userId, data);
}

/** A push token, which belongs to the session that it came in. */
export function deviceMessage(
  { id: userId, version, language }: Pick<ProfileRow, "id" | "version" | "language">,
  sessionId: string,
  pushToken: PushToken,
): NewMessage {
  return message("user.device_added", userId, { version, userId, sessionId, language, ...pushToken });
}

/** The texts that Notifications has for us. */
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
  /** Whose message it is, so that an erasure finds it. */
  userId?: string;
  /** What it is about when it is nobody's. */
  subject?: string;
  /** A code or a token with what is said of it: sealed, since a message stands for days in tables and streams. */
  values?: Record<string, string>;
}

/** Asks for a mail. Its version says nothing: each is sent for itself. */
export function mail(
  { seals }: { seals: EncryptionKeys },
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
    ...(values && { sealed: encrypt(JSON.stringify(values), seals, mailSealPlace({ template, email })) }),
  });
}
