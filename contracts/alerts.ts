import { shorten, shortenLine } from "../lib/text.ts";
import { message, type NewMessage } from "./messages.ts";

const SUBJECT_MAX_LENGTH = 200;
const DETAIL_MAX_LENGTH = 2_000;

interface Kind {
  /** For an alert that is raised repeatedly until an operator acts: how often operators are notified of one subject. */
  told?: "hourly" | "once";
}

/** All kinds of alerts; docs/operating.md describes the action for each. */
export const alertKinds = {
  "order.not_accepted": {},
  "order.not_ready": { told: "hourly" },
  "order.no_deliverer": { told: "hourly" },
  "order.deliverer_silent": { told: "hourly" },
  "order.undeliverable": { told: "hourly" },
  "order.partner_not_notified": { told: "hourly" },
  "deadline.failed": { told: "hourly" },
  "reconciliation.failed": { told: "hourly" },
  "erasure.failed": { told: "hourly" },
  "reservation.failed": { told: "hourly" },
  "order.deliverer_gone": {},
  "handover.locked": {},
  "payment.unmatched": {},
  "payment.unusable": {},
  "payment.contradiction": {},
  "payment.disputed": {},
  "payment.missing": {},
  "payment.unreadable": { told: "once" },
  "refund.difference": {},
  "refund.unknown": {},
  "refund.failed": {},
  "refund.stuck": {},
  "bank.silent": {},
  "row.unreadable": { told: "once" },
  "stock.oversold": {},
  "webhook.dead": {},
  "webhook.disabled": {},
  "webhook.saturated": { told: "hourly" },
} as const satisfies Record<string, Kind>;

export type AlertKind = keyof typeof alertKinds;

/**
 * How often operators are notified of one subject. A kind that only another version of the program knows counts as
 * `each`, so that no alert is lost.
 */
export function alertFrequency(kind: string): "each" | "hourly" | "once" {
  const known: Kind | undefined = Object.hasOwn(alertKinds, kind) ? alertKinds[kind as AlertKind] : undefined;
  return known?.told ?? "each";
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
