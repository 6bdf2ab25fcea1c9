import { action } from "./action.ts";
import {
  boolean,
  type Infer,
  listOf,
  object,
  oneOf,
  optional,
  page,
  paging,
  text,
  uuid,
  version,
} from "./schema.ts";
import { language } from "./shared.ts";

/** The templates of notifications about orders: the message's type and the recipient. */
export const orderEvents = [
  "order.paid:customer",
  "order.paid:partner",
  "order.accepted:customer",
  "order.rejected:customer",
  "order.ready:customer",
  "order.ready:deliverer",
  "order.delayed:customer",
  "order.delayed:deliverer",
  "order.offered:deliverer",
  "order.assigned:customer",
  "order.assigned:deliverer",
  "order.assigned:partner",
  "order.released:customer",
  "order.released:deliverer",
  "order.delivered:customer",
  "order.failed:customer",
  "order.cancelled:customer",
  "order.cancelled:deliverer",
  "order.cancelled:partner",
  "order.expired:customer",
] as const;

/** The templates of other notifications that follow from messages. */
export const otherEvents = [
  "order.unanswered:partner",
  "courier.near:partner",
  "courier.near:customer",
  "refund.completed:customer",
  "alert.raised:admin",
] as const;

/** The templates for `notification.requested`. */
export const directTemplates = [
  "confirm-email",
  "account-exists",
  "reset-password",
  "password-changed",
  "change-email",
  "email-changed",
  "invitation",
  "webhook-disabled",
] as const;

const templateEvent = oneOf(...orderEvents, ...otherEvents, ...directTemplates);
export type TemplateEvent = Infer<typeof templateEvent>;
export const templateEvents: readonly TemplateEvent[] = templateEvent.values;

const channel = oneOf("push", "email");
export type TemplateChannel = Infer<typeof channel>;

/** One line: the title of a push or the subject of a mail. */
const title = {
  ...text(200),
  pattern: /^[^\p{Cc}\p{Cs}\s](?:[^\p{Cc}\p{Cs}]*[^\p{Cc}\p{Cs}\s])?$/u,
  messages: { stringPattern: "Must be one line without control characters." },
} as const;
const body = text(2000);

const placeholder = object({
  placeholder: text(40),
  about: text(200),
  /** The value may be absent: needs a default (`{{reason|unknown}}`) or an optional part (`[[ Reason: {{reason}}]]`). */
  mayBeMissing: boolean,
  /** Allowed in the body only, because the history stores titles. */
  secret: boolean,
  /** The body must contain it. */
  required: boolean,
});
export type PlaceholderView = Infer<typeof placeholder>;

const fields = {
  event: templateEvent,
  language,
  channel,
  origin: oneOf("built_in", "own"),
  /** If an operator's own template is disabled, the built-in one is used. */
  enabled: boolean,
  /** Whether this template is used now for recipients with exactly this language. */
  inForce: boolean,
  title,
  body,
  /** The template with example values. */
  preview: object({ title: text(200), body: text(2000) }),
  placeholders: listOf(placeholder),
  /** The reason why it is not used although it is enabled. */
  problem: optional(text(500)),
};

/** An operator's own template for an event, a language and a channel. */
export const ownTemplate = object({ id: uuid, version, ...fields });
export type OwnTemplate = Infer<typeof ownTemplate>;
/** An own or a built-in template. A built-in one has no id and no version. */
export const template = object({ id: optional(uuid), version: optional(version), ...fields });
export type TemplateView = Infer<typeof template>;

export const templatesActions = {
  "notifications.templates": action(
    object({
      ...paging,
      event: optional(templateEvent),
      language: optional(language),
      channel: optional(channel),
    }),
    page(template),
    { idempotent: true },
  ),
  "notifications.createTemplate": action(
    object({ event: templateEvent, language, channel, title, body, enabled: boolean }),
    ownTemplate,
  ),
  "notifications.updateTemplate": action(
    object({
      templateId: uuid,
      expectedVersion: optional(version),
      title: optional(title),
      body: optional(body),
      enabled: optional(boolean),
    }),
    ownTemplate,
  ),
} as const;
