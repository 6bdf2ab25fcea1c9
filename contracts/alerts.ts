import { shorten, shortenLine } from "../lib/text.ts";
import { message, type NewMessage } from "./messages.ts";

const SUBJECT_MAX_LENGTH = 200;
const DETAIL_MAX_LENGTH = 2_000;

interface Kind {
  /** It comes again and again until an operator acts, so operators hear of one subject at most once in a window. */
  repeats?: true;
}

/** Everything that an operator is told; docs/operating.md says of each what to do. */
export const alertKinds = {
  "order.not_ready": { repeats: true },
  "order.no_deliverer": { repeats: true },
  "order.deliverer_silent": { repeats: true },
  "order.undeliverable": { repeats: true },
  "order.partner_not_notified": { repeats: true },
  "handover.locked": {},
  "payment.unmatched": {},
  "payment.unusable": {},
  "payment.contradiction": {},
  "payment.missing": {},
  "refund.difference": {},
  "refund.unknown": {},
  "refund.failed": {},
  "refund.stuck": {},
  "bank.silent": {},
  "stock.oversold": {},
  "webhook.dead": {},
  "webhook.disabled": {},
} as const satisfies Record<string, Kind>;

export type AlertKind = keyof typeof alertKinds;

/** False also for a kind that only another version of the program knows: an alert too many is better than one too few. */
export function alertRepeats(kind: string): boolean {
  const known: Kind | undefined = Object.hasOwn(alertKinds, kind) ? alertKinds[kind as AlertKind] : undefined;
  return known?.repeats === true;
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
