import { shorten, shortenLine } from "../lib/text.ts";
import { message, type NewMessage } from "./messages.ts";

const SUBJECT_MAX_LENGTH = 200;
const DETAIL_MAX_LENGTH = 2_000;

interface Kind {
  /** Until an operator acts it is raised again and again: operators hear of one subject once an hour, or once. */
  told?: "hourly" | "once";
}

/** Everything that an operator is told; docs/operating.md says of each what to do. */
export const alertKinds = {
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
 * How often operators hear of one subject. Each time also of a kind that only another version of the program knows: an
 * alert too many is better than one too few.
 */
export function alertTold(kind: string): "each" | "hourly" | "once" {
  const known: Kind | undefined = Object.hasOwn(alertKinds, kind) ? alertKinds[kind as AlertKind] : undefined;
  return known?.told ?? "each";
}

/**
 * Something that an operator has to look at.
 * @param detail may hold what others wrote: it is shortened and cleaned, so that wording never fails a transaction
 * @param about `subject`: the payment, event, refund, order or whatever else it is about; `under`: the id that the
 *   message is kept under where that is another one, as the order of a refund
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
