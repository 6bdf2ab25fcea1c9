import type { OrderSnapshot } from "../../../contracts/messages.ts";

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
export type OrderEvent = (typeof orderEvents)[number];

/** What `notification.requested` may ask for. */
export const directTemplates = [
  "confirm-email",
  "account-exists",
  "reset-password",
  "password-changed",
  "change-email",
  "email-changed",
  "invitation",
] as const;
export type DirectTemplate = (typeof directTemplates)[number];

/** What an order's text may speak of. */
export interface OrderNews {
  order: OrderSnapshot;
  /** The customer's first name. */
  customer: string;
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

/** A mail of its own; `code` stands out. */
export interface DirectText {
  title: string;
  paragraphs: readonly string[];
  code?: string;
  /** After the code. */
  closing?: readonly string[];
}

/** Values of a direct send; one that is missing is the sender's mistake, told by `need`. */
export interface Values {
  need(name: string): string;
  get(name: string): string | undefined;
}

/** All texts of one language: one that is missing does not compile. */
export interface Language {
  orders: Record<OrderEvent, (news: OrderNews, format: Format) => Text>;
  direct: Record<DirectTemplate, (values: Values) => DirectText>;
  refunded: (amount: Amount, format: Format) => Text;
  alert: (alert: Alert) => Text;
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

/** Whole minutes from one moment to a later one, at least one. */
export function minutesBetween(from: string, until: string): number {
  return Math.max(1, Math.ceil((Date.parse(until) - Date.parse(from)) / 60_000));
}

/** What somebody wrote, as a sentence that others may follow. */
export function sentence(text: string): string {
  return /\p{Po}$/u.test(text) ? text : `${text}.`;
}
