import { action } from "./action.ts";
import { pushToken } from "./identity.ts";
import {
  array,
  boolean,
  type Infer,
  integer,
  listOf,
  nothing,
  object,
  oneOf,
  optional,
  page,
  paging,
  stored,
  stringRecord,
  text,
  time,
  uuid,
  version,
} from "./schema.ts";
import { language } from "./shared.ts";

export const pushProvider = oneOf("onesignal", "fcm", "apns", "webpush", "sandbox");

/** A sender of notifications: its push providers in order of preference, with their settings. */
export const agent = object({
  id: uuid,
  name: text(100),
  /** The agent with the lowest number that is enabled sends. */
  priority: integer(1, 1000),
  providers: listOf(pushProvider),
  enabled: boolean,
  version,
});
export type Agent = Infer<typeof agent>;

/** Settings of one provider, as `{ provider: "onesignal", values: { appId, apiKey } }`; no answer contains them. */
const providerSettings = object({ provider: pushProvider, values: stringRecord });

export const device = object({
  id: uuid,
  name: optional(text(100)),
  language: optional(stored(language)),
  providers: listOf(text(20)),
  createdAt: time,
});

/** A daily period in minutes after midnight, local time. An end before the start lies on the next day. */
const quietHours = object({
  fromMinute: integer(0, 1439),
  untilMinute: integer(0, 1439),
  timeZone: text(64),
});
export type QuietHours = Infer<typeof quietHours>;

export const preferences = object({
  push: boolean,
  email: boolean,
  /** Notifications that can wait are deferred until the end of this period. */
  quietHours: optional(quietHours),
});
export type Preferences = Infer<typeof preferences>;

export const attempt = object({
  channel: oneOf("push", "email"),
  provider: text(20),
  outcome: oneOf("accepted", "refused", "unclear", "skipped"),
  detail: optional(text(500)),
  at: time,
  durationMs: integer(0, 600_000),
});
export type Attempt = Infer<typeof attempt>;

export const notification = object({
  id: uuid,
  event: text(60),
  title: text(200),
  body: text(2000),
  orderId: optional(uuid),
  /**
   * `muted`: stored but not sent, because the recipient has switched off pushes and mails. `held`: deferred until the
   * end of the quiet hours. `dropped`: at that time there was a newer notification about the same order.
   */
  state: oneOf("pending", "held", "sent", "muted", "dropped", "failed"),
  attempts: listOf(attempt),
  createdAt: time,
});
export type NotificationView = Infer<typeof notification>;

export const notificationsActions = {
  /** Stores a token; a token of another device moves to this one. With `deviceId`: adds it to the caller's device. */
  "notifications.addDevice": action(
    object({ ...pushToken.props, language: optional(language), deviceId: optional(uuid) }),
    device,
  ),
  "notifications.devices": action(object({}), object({ items: listOf(device) }), { idempotent: true }),
  /** The devices of any user, for admins. */
  "notifications.devicesOf": action(object({ userId: uuid }), object({ items: listOf(device) }), {
    idempotent: true,
  }),
  "notifications.removeDevice": action(object({ deviceId: uuid }), nothing, { idempotent: true }),
  "notifications.preferences": action(object({}), preferences, { idempotent: true }),
  /** The broker does not repeat it: a repeat would undo changes that came in between. */
  "notifications.setPreferences": action(preferences, preferences),
  "notifications.list": action(object(paging), page(notification), { idempotent: true }),
  "notifications.agents": action(object({}), object({ items: listOf(agent) }), { idempotent: true }),
  "notifications.createAgent": action(
    object({
      name: text(100),
      priority: integer(1, 1000),
      providers: array(pushProvider, { min: 1, max: 10 }),
      settings: array(providerSettings, { max: 10 }),
      enabled: boolean,
    }),
    agent,
  ),
  "notifications.updateAgent": action(
    object({
      agentId: uuid,
      expectedVersion: optional(version),
      name: optional(text(100)),
      priority: optional(integer(1, 1000)),
      providers: optional(array(pushProvider, { min: 1, max: 10 })),
      settings: optional(array(providerSettings, { max: 10 })),
      enabled: optional(boolean),
    }),
    agent,
  ),
} as const;
