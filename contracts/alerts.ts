import { derivedId } from "../lib/ids.ts";
import { shorten, shortenLine } from "../lib/text.ts";
import { type Message, message, type NewMessage } from "./messages.ts";
import type { OperatorRole } from "./meta.ts";

const SUBJECT_MAX_LENGTH = 200;
const DETAIL_MAX_LENGTH = 2_000;
/** A deadline that stays missed raises its alert again. Within this time operators are told of it once. */
const ALERT_WINDOW_MS = 3_600_000;

interface Kind {
  /** `critical`: an operator must act now. It is sent by push and by mail, also in quiet hours. */
  severity: "critical" | "warning";
  /** A warning about safety or money is sent in quiet hours too; other warnings wait until they end. */
  concern: "safety" | "money" | "orders" | "platform";
  /** For an alert that is raised repeatedly until an operator acts: how often operators are notified of one subject. */
  told?: "hourly" | "once";
}

/** All kinds of alerts; docs/operating.md describes the action for each. */
export const alertKinds = {
  "order.not_accepted": { severity: "warning", concern: "orders" },
  "order.not_ready": { severity: "warning", concern: "orders", told: "hourly" },
  "order.no_deliverer": { severity: "warning", concern: "orders", told: "hourly" },
  "order.deliverer_silent": { severity: "critical", concern: "safety", told: "hourly" },
  "order.undeliverable": { severity: "warning", concern: "orders", told: "hourly" },
  "order.partner_not_notified": { severity: "critical", concern: "orders", told: "hourly" },
  "deadline.failed": { severity: "warning", concern: "platform", told: "hourly" },
  "reconciliation.failed": { severity: "warning", concern: "money", told: "hourly" },
  "erasure.failed": { severity: "warning", concern: "platform", told: "hourly" },
  "reservation.failed": { severity: "warning", concern: "platform", told: "hourly" },
  "order.deliverer_gone": { severity: "critical", concern: "safety" },
  "handover.locked": { severity: "critical", concern: "safety" },
  "payment.unmatched": { severity: "warning", concern: "money" },
  "payment.unusable": { severity: "warning", concern: "money" },
  "payment.contradiction": { severity: "warning", concern: "money" },
  "payment.disputed": { severity: "warning", concern: "money" },
  "payment.missing": { severity: "warning", concern: "money" },
  "payment.unreadable": { severity: "warning", concern: "money", told: "once" },
  "refund.difference": { severity: "warning", concern: "money" },
  "refund.unknown": { severity: "critical", concern: "money" },
  "refund.failed": { severity: "critical", concern: "money" },
  "refund.stuck": { severity: "critical", concern: "money" },
  "bank.silent": { severity: "critical", concern: "money" },
  "row.unreadable": { severity: "warning", concern: "money", told: "once" },
  "stock.oversold": { severity: "warning", concern: "orders" },
  "webhook.dead": { severity: "critical", concern: "orders" },
  "webhook.disabled": { severity: "critical", concern: "orders" },
  "webhook.saturated": { severity: "warning", concern: "platform", told: "hourly" },
} as const satisfies Record<string, Kind>;

export type AlertKind = keyof typeof alertKinds;

/** A kind that only another version of the program knows. No such alert may be lost or come late. */
const unknownKind: Kind = { severity: "critical", concern: "platform" };

function profileOf(kind: string): Kind {
  return Object.hasOwn(alertKinds, kind) ? alertKinds[kind as AlertKind] : unknownKind;
}

/** How often operators are notified of one subject. */
export function alertFrequency(kind: string): "each" | "hourly" | "once" {
  return profileOf(kind).told ?? "each";
}

/**
 * The id under which an alert is stored: its own, or for kinds that are raised repeatedly one that repeats within the
 * window or for ever, so that operators get one notification.
 */
export function alertIdOf({ id, time, data }: Pick<Message<"alert.raised">, "id" | "time" | "data">): string {
  const frequency = alertFrequency(data.kind);
  if (frequency === "each") return id;
  if (frequency === "once") return derivedId("alert", `${data.kind}/${data.subject}`);
  const window = Math.floor(Date.parse(time) / ALERT_WINDOW_MS);
  return derivedId("alert", `${data.kind}/${data.subject}/${window}`);
}

/** How operators are notified: by both channels or by the first that works, and whether it can wait for quiet hours. */
export function alertUrgency(kind: string): { bothChannels: boolean; deferrable: boolean } {
  const { severity, concern } = profileOf(kind);
  const isCritical = severity === "critical";
  return { bothChannels: isCritical, deferrable: !isCritical && concern !== "safety" && concern !== "money" };
}

/** Support gets alerts about orders and safety, finance those about money, and admins all. */
export function alertAudience(kind: string): OperatorRole[] {
  const { concern } = profileOf(kind);
  if (concern === "money") return ["finance", "admin"];
  return concern === "platform" ? ["admin"] : ["support", "admin"];
}

/**
 * The message for an alert, which asks an operator to act.
 * @param detail may contain text from outside: it is shortened and cleaned, so that it cannot fail the transaction
 * @param about `subject`: the id of the payment, event, refund or order; `under`: the `subject` of the message where it
 *   differs, as the order of a refund
 */
export function alert(
  kind: AlertKind,
  detail: string,
  { subject, under = subject, version = 1 }: { subject: string; under?: string; version?: number },
): NewMessage<"alert.raised"> {
  return message("alert.raised", under, {
    version,
    kind,
    subject: shortenLine(subject, SUBJECT_MAX_LENGTH) || "unknown",
    detail: shorten(detail, DETAIL_MAX_LENGTH).trim() || kind,
  });
}
