import type { OrderSnapshot } from "../../../../contracts/messages.ts";
import {
  directTemplates,
  orderEvents,
  type TemplateChannel,
  type TemplateEvent,
} from "../../../../contracts/templates.ts";

export { directTemplates, orderEvents, type TemplateChannel, type TemplateEvent };

export type OrderEvent = (typeof orderEvents)[number];
export type DirectTemplate = (typeof directTemplates)[number];

/**
 * What is told at any hour, and what can wait for the end of somebody's quiet hours. Now: who is at the door or has to
 * be, what ends a meal that somebody waits for, what operators are for, and answers to one's own act.
 */
export const urgency = {
  "order.paid:customer": "later",
  "order.accepted:customer": "later",
  "order.rejected:customer": "now",
  "order.ready:customer": "later",
  "order.delayed:customer": "later",
  "order.delayed:deliverer": "now",
  "order.assigned:customer": "now",
  "order.assigned:deliverer": "now",
  "order.released:customer": "later",
  "order.delivered:customer": "later",
  "order.failed:customer": "now",
  "order.cancelled:customer": "now",
  "order.cancelled:deliverer": "now",
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

/** What an order's text may speak of. */
export interface OrderTextInput {
  order: OrderSnapshot;
  /** The reader's first name, where known. */
  firstName?: string;
  /** The deliverer's first name, where known. */
  deliverer?: string;
  /** When it happened, RFC 3339. */
  at: string;
}

/** One text: a push is its title and body, a mail its title as subject and the rest. */
export interface Text {
  title: string;
  body: string;
}

/**
 * A text with `{{placeholders}}`, `{{placeholders|and what stands there without them}}` and
 * `[[parts that go when a placeholder in them has no value]]`. An empty line separates paragraphs.
 */
export type Template = Text;

/** All texts of one language: one that is missing does not compile. */
export interface Language {
  texts: Record<TemplateEvent, Template>;
  mail: {
    greeting: (firstName: string | undefined) => string;
    /** Below news, which one can turn off, and below answers to somebody's own act. */
    footer: { news: string; direct: string };
  };
  /** Stands in the history in place of a mail whose content is a secret. */
  byMailOnly: string;
}

export interface Amount {
  amountMinor: number;
  currency: string;
}

/** Something that an operator has to look at, in the words of whoever raised it. */
export interface Alert {
  kind: string;
  subject: string;
  detail: string;
}

/** How a language writes amounts. */
export interface Format {
  money(amount: Amount): string;
}
