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

/** What is told of an order, and to whom: the name of its text. */
export const orderEvents = [
  "order.paid:customer",
  "order.accepted:customer",
  "order.rejected:customer",
  "order.ready:customer",
  "order.delayed:customer",
  "order.delayed:deliverer",
  "order.assigned:customer",
  "order.assigned:deliverer",
  "order.released:customer",
  "order.delivered:customer",
  "order.failed:customer",
  "order.cancelled:customer",
  "order.cancelled:deliverer",
  "order.expired:customer",
] as const;

/** What else is told without being asked for. */
export const otherEvents = ["refund.completed:customer", "alert.raised:admin"] as const;

/** What `notification.requested` may ask for. */
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

/** One line: what a push shows in bold and a mail has as its subject. */
const title = {
  ...text(200),
  pattern: /^[^\p{Cc}\p{Cs}\s](?:[^\p{Cc}\p{Cs}]*[^\p{Cc}\p{Cs}\s])?$/u,
  messages: { stringPattern: "Must be one line without control characters." },
} as const;
const body = text(2000);

const placeholder = object({
  placeholder: text(40),
  about: text(200),
  /** It needs a default (`{{reason|unknown}}`), or to stand in a part that goes with it (`[[ Reason: {{reason}}]]`). */
  mayBeMissing: boolean,
  /** It stands in the body alone, since titles are kept in the history. */
  secret: boolean,
  /** A body without it is of no use to its reader. */
  required: boolean,
});
export type PlaceholderView = Infer<typeof placeholder>;

const fields = {
  event: templateEvent,
  language,
  channel,
  origin: oneOf("built_in", "own"),
  /** An own text that is switched off leaves the word to the built-in one. */
  enabled: boolean,
  /** Whether it is what readers of this very language are told now. */
  inForce: boolean,
  title,
  body,
  /** How it reads with example values. */
  preview: object({ title: text(200), body: text(2000) }),
  placeholders: listOf(placeholder),
  /** Why it is not used although it is switched on. */
  problem: optional(text(500)),
};

/** An operator's own text for an event in a language by a channel. */
export const ownTemplate = object({ id: uuid, version, ...fields });
export type OwnTemplate = Infer<typeof ownTemplate>;
/** Own or built in; what is built in has no id and no version. */
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
