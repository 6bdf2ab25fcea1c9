import type { OrderSnapshot } from "../../../../contracts/messages.ts";
import type { Role } from "../../../../contracts/meta.ts";
import type { RejectionReason } from "../../../../contracts/orders.ts";
import {
  directTemplates,
  orderEvents,
  type TemplateChannel,
  type TemplateEvent,
} from "../../../../contracts/templates.ts";

/** The roles that an invitation grants. */
export type InvitedRole = Exclude<Role, "customer">;

export { directTemplates, orderEvents, type TemplateChannel, type TemplateEvent };

export type OrderEvent = (typeof orderEvents)[number];
export type DirectTemplate = (typeof directTemplates)[number];

/**
 * Whether a notification is sent during quiet hours ("now") or when they end ("later"). "now" is for a courier at the
 * door, for an order that will not arrive, for an order that waits for its partner and for answers to the user's own
 * action. Of alerts the kind decides, see `alertUrgency`.
 */
export const urgency = {
  "order.paid:customer": "later",
  "order.paid:partner": "now",
  "order.unanswered:partner": "now",
  "order.accepted:customer": "later",
  "order.rejected:customer": "now",
  "order.ready:customer": "later",
  "order.ready:deliverer": "now",
  "courier.near:partner": "now",
  "courier.near:customer": "now",
  "order.offered:deliverer": "now",
  "order.delayed:customer": "later",
  "order.delayed:deliverer": "now",
  "order.assigned:customer": "now",
  "order.assigned:deliverer": "now",
  "order.assigned:partner": "later",
  "order.released:customer": "later",
  "order.released:deliverer": "now",
  "order.delivered:customer": "later",
  "order.failed:customer": "now",
  "order.cancelled:customer": "now",
  "order.cancelled:deliverer": "now",
  "order.cancelled:partner": "now",
  "order.expired:customer": "later",
  "refund.completed:customer": "later",
  "alert.raised:admin": "now",
  "confirm-email": "now",
  "account-exists": "now",
  "reset-password": "now",
  "password-changed": "now",
  "change-email": "now",
  "email-changed": "now",
  invitation: "now",
  "webhook-disabled": "now",
} as const satisfies Record<TemplateEvent, "now" | "later">;

export function isDeferrable(event: TemplateEvent): boolean {
  return urgency[event] === "later";
}

/** Events that are sent by push and also by mail: a paid order has a deadline, and a phone may lie in another room. */
const byBothChannels: ReadonlySet<TemplateEvent> = new Set([
  "order.paid:partner",
  "order.unanswered:partner",
]);

export function usesBothChannels(event: TemplateEvent): boolean {
  return byBothChannels.has(event);
}

/** The input of a text about an order. */
export interface OrderTextInput {
  order: OrderSnapshot;
  /** The reader's first name, if known. */
  firstName?: string;
  /** The deliverer's first name, if known. */
  deliverer?: string;
  /** When it happened, RFC 3339. */
  at: string;
}

/** A rendered text. A mail uses the title as its subject. */
export interface Text {
  title: string;
  body: string;
}

/**
 * A text with `{{placeholder}}`, `{{placeholder|default}}` and `[[optional section]]`. A section is left out when a
 * placeholder in it has neither a value nor a default. An empty line separates paragraphs.
 */
export type Template = Text;

export interface BuiltInTemplate extends Template {
  /** The next step: the last paragraph of the mail. A push does not have it. */
  next?: string;
}

/** Where the button of a mail leads. */
export type MailLink =
  | "order"
  | "work"
  | "confirmEmail"
  | "signIn"
  | "newPassword"
  | "undo"
  | "acceptInvitation"
  | "webhook"
  | "alert"
  | "preferences";

/** The words by plural category of the number before them. A language without plural forms has only `other`. */
export type PluralForms = Readonly<Partial<Record<Intl.LDMLPluralRule, string>> & { other: string }>;

/** All texts of one language. A missing text is a compile error. */
export interface Language {
  texts: Record<TemplateEvent, BuiltInTemplate>;
  /** Why partner staff reject an order, each the beginning of a sentence. `other` has no text of its own. */
  rejections: Record<Exclude<RejectionReason, "other">, string>;
  /** The role of the invitation in words. */
  roles: Record<InvitedRole, string>;
  mail: {
    greeting: (firstName: string | undefined) => string;
    /** `notification`: below notifications, which the user can turn off. `direct`: below answers to the user's action. */
    footer: Record<"notification" | "direct", (brand: string) => string>;
    links: Record<MailLink, string>;
    order: (number: string | undefined) => string;
    fee: string;
    total: string;
    /** After the number of products that the mail does not list. */
    moreProducts: PluralForms;
    pin: string;
  };
  /** The body in the history for a mail with secret content. */
  byMailOnly: string;
}

export interface Amount {
  amountMinor: number;
  currency: string;
}

/** The input of a text about a refund. */
export interface RefundTextInput {
  amount: Amount;
  /** The number of the order. */
  number?: string;
}

/** The input of a text about a courier who is near. */
export interface NearTextInput {
  partnerTitle: string;
  number?: string | undefined;
  /** The courier's first name, if known. */
  deliverer?: string | undefined;
}

/** The input of a reminder about a paid order that is not accepted. */
export interface ReminderTextInput {
  partnerTitle: string;
  number?: string | undefined;
  total: Amount;
  /** Whole minutes that are left to accept it. */
  minutesLeft: number;
}

/** A condition that needs an operator's attention. */
export interface Alert {
  kind: string;
  subject: string;
  detail: string;
}

/** The number formats and words of a language. */
export interface Format {
  money(amount: Amount): string;
  /** The reason of a rejection by hand. */
  rejection(reason: RejectionReason): string | undefined;
  /** The role of the invitation in words. Undefined for an unknown role. */
  role(role: string): string | undefined;
}
