import { ACCEPTANCE_MINUTES_DEFAULT } from "../../../../contracts/order-status.ts";
import { shorten } from "../../../../lib/text.ts";
import type {
  Alert,
  Format,
  NearTextInput,
  OrderTextInput,
  RefundTextInput,
  ReminderTextInput,
} from "./catalogue.ts";
import type { Values } from "./render-template.ts";

const MINUTE_MS = 60_000;
const VALUE_MAX = 1_000;

/** The values of a text about an order, by the names in placeholders.ts. */
export function orderValues({ order, at, firstName, deliverer }: OrderTextInput, format: Format): Values {
  const { paid, refunded, pickup, address, readyAt } = order;
  const { money } = format;
  const refundMinor = paid.amountMinor - refunded.amountMinor;
  return {
    first_name: firstName,
    partner: order.partnerTitle,
    number: order.number,
    total: money(order.total),
    reason: reasonOf(order, format),
    ready_in_minutes: readyAt && readyAt > at ? String(minutesBetween(at, readyAt)) : undefined,
    accept_in_minutes: String(order.acceptanceMinutes ?? ACCEPTANCE_MINUTES_DEFAULT),
    deliverer,
    refund: refundMinor > 0 ? money({ ...paid, amountMinor: refundMinor }) : undefined,
    pickup: `${pickup.line1}, ${pickup.city}`,
    // The history of a courier's notifications outlives the delivery, so it has the area only.
    destination: [address.postalCode, address.city].filter(Boolean).join(" "),
  };
}

export function reminderValues(
  { partnerTitle, number, total, minutesLeft }: ReminderTextInput,
  firstName: string,
  { money }: Format,
): Values {
  return {
    ...{ partner: partnerTitle, number, total: money(total), first_name: firstName },
    accept_in_minutes: String(minutesLeft),
  };
}

export function nearValues(
  { partnerTitle, number, deliverer }: NearTextInput,
  firstName: string | undefined,
): Values {
  return { partner: partnerTitle, number, deliverer, first_name: firstName };
}

export function refundValues(
  { amount, number }: RefundTextInput,
  firstName: string | undefined,
  { money }: Format,
): Values {
  return { amount: money(amount), number, first_name: firstName };
}

export function alertValues({ kind, subject, detail }: Alert, firstName: string): Values {
  return { kind, subject, detail, first_name: firstName };
}

/** The known values in a `notification.requested` message; others are ignored. */
export function directValues(
  sent: Readonly<Record<string, string>>,
  format: Format,
  { brand, isOurs }: { brand: string; isOurs: (url: string) => boolean },
): Values {
  const get = (name: string) =>
    Object.hasOwn(sent, name) ? shorten(sent[name] ?? "", VALUE_MAX) : undefined;
  const names = ["code", "token", "minutes", "days", "partner", "address"];
  const [link, role] = [get("link"), get("role")];
  return {
    ...Object.fromEntries(names.map((name) => [name, get(name)])),
    ...{ first_name: get("firstName"), brand },
    ...(link && isOurs(link) && { link }),
    ...(role && { role: format.role(role) }),
  };
}

/** The reason as sentences in the reader's language; what the staff have written stays as it is. */
function reasonOf({ reason, rejection, lines }: OrderTextInput["order"], format: Format): string | undefined {
  if (!rejection) return reason && sentence(reason);
  const titles = rejection.outOfStock.map((id) => lines.find(({ productId }) => productId === id)?.title);
  const cause = format.rejection(rejection.reason);
  const parts = [[cause, titles.join(", ")].filter(Boolean).join(": "), rejection.text];
  return parts.flatMap((part) => (part ? [sentence(part)] : [])).join(" ") || undefined;
}

/** Whole minutes from one moment to a later one, at least one. */
function minutesBetween(from: string, until: string): number {
  return Math.max(1, Math.ceil((Date.parse(until) - Date.parse(from)) / MINUTE_MS));
}

/** The text with a full stop, unless it ends with punctuation. */
function sentence(text: string): string {
  return /\p{Po}$/u.test(text) ? text : `${text}.`;
}
