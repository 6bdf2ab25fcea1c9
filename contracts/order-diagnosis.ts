import { type Infer, listOf, object, oneOf, text } from "./schema.ts";

/** Why an order does not go on, or what its state waits for. */
export const diagnosisCause = oneOf(
  "dead_letter",
  "webhook_dead",
  "webhook_failing",
  "webhook_disabled",
  "broker_away",
  "message_unsent",
  "document_store_away",
  "message_unhandled",
  "refund_failed",
  "refund_failing",
  "deadline_failing",
  "bank_silent",
  "checkout_missing",
  "payment_unreadable",
  "partially_paid",
  "no_callback",
  "not_paid",
  "partner_not_notified",
  "partner_silent",
  "preparing",
  "offered",
  "no_courier_on_duty",
  "not_assigned",
  "courier_silent",
  "delivering",
  "undeliverable",
  "ended",
);
export type DiagnosisCause = Infer<typeof diagnosisCause>;

/** One reason, in a sentence for operators. */
export const diagnosisFinding = object({
  cause: diagnosisCause,
  sentence: text(700),
  /** The next act of an operator. */
  next: text(500),
  /** Lines of the form `name: value`. */
  evidence: listOf(text(300)),
});
export type DiagnosisFinding = Infer<typeof diagnosisFinding>;

/** A service that could not be asked, so that its part of the evidence is missing. */
export const notAsked = object({ service: text(40), reason: text(200) });
