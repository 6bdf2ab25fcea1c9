import { createHash, createHmac } from "node:crypto";
import { isoTime } from "../../lib/clock.ts";
import { parseForeignJson } from "../../lib/json.ts";
import { shortenLine } from "../../lib/text.ts";
import { type Fields, fieldsOf, isText } from "./fields.ts";
import type { BankEvent, Callback, Dispute, Verdict } from "./port.ts";
import { oneMatches, TOLERANCE_SECONDS } from "./signature.ts";
import { fromStripe } from "./stripe-amounts.ts";

const HEADER_MAX_LENGTH = 2_000;
const REASON_MAX_LENGTH = 200;
const PART = /^([a-z][a-z0-9]*)=([0-9a-f]+)$/;

/**
 * Verifies a report of Stripe: `Stripe-Signature: t=<seconds>,v1=<hex>[,v1=<hex>…]`, where each v1 is the HMAC-SHA256
 * of `<t>.<body>` under one of the endpoint's secrets (two while a secret is rotated). Other schemes than v1 are
 * ignored: otherwise an attacker could downgrade to a weaker one.
 */
export function verifyStripe(secrets: readonly string[], { headers, body, now }: Callback): Verdict {
  const header = headers["stripe-signature"];
  if (!header || header.length > HEADER_MAX_LENGTH) return { kind: "refused", reason: "unsigned" };
  const parts = header.split(",").map((part) => PART.exec(part) ?? []);
  const values = (scheme: string) =>
    parts.flatMap(([, name, value = ""]) => (name === scheme ? [value] : []));
  const [times, signatures] = [values("t"), values("v1")];
  const [time = ""] = times;
  if (times.length === 0 || signatures.length === 0) return { kind: "refused", reason: "unsigned" };
  if (times.length > 1 || !/^[1-9]\d{0,11}$/.test(time)) return { kind: "refused", reason: "wrong" };
  const expected = secrets.map((secret) =>
    createHmac("sha256", secret).update(`${time}.${body}`).digest("hex"),
  );
  if (!oneMatches(signatures, expected)) return { kind: "refused", reason: "wrong" };
  // The library's own check accepts reports from the future, which then never expire.
  if (Math.abs(now / 1000 - Number(time)) > TOLERANCE_SECONDS) return { kind: "refused", reason: "stale" };
  return read(body);
}

/** By event type. Other types have no effect. */
const readers: Readonly<Record<string, (object: Fields, createdSeconds: unknown) => Reading>> = {
  "checkout.session.completed": (session) =>
    session.payment_status === "unpaid" ? "the payment is still being processed" : paid(session),
  "checkout.session.async_payment_succeeded": paid,
  "checkout.session.async_payment_failed": (session) => {
    const reading = paid(session);
    return "kind" in Object(reading) ? { ...(reading as Draft), kind: "failed" } : reading;
  },
  "refund.created": refunded,
  "refund.updated": refunded,
  "refund.failed": refunded,
  "charge.refund.updated": refunded,
  "charge.dispute.created": disputed,
  "charge.dispute.updated": disputed,
  "charge.dispute.closed": disputed,
  "charge.dispute.funds_withdrawn": disputed,
  "charge.dispute.funds_reinstated": disputed,
};

type Draft = Omit<BankEvent, "eventId">;
/** An event; a dispute; a description of a report without effect; or an Error for an invalid report. */
type Reading = Draft | Dispute | string | Error;

function read(body: string): Verdict {
  let event: Fields;
  try {
    event = fieldsOf(parseForeignJson(body));
  } catch {
    event = {};
  }
  const { id, type } = event;
  // Without Stripe's id, the hash of the body identifies the event.
  const eventId = isText(id) ? id : `body-${createHash("sha256").update(body).digest("hex")}`;
  if (!isText(id) || typeof type !== "string") {
    return { kind: "unusable", eventId, reason: "the body is not an event of Stripe" };
  }
  const reader = Object.hasOwn(readers, type) ? readers[type] : undefined;
  const reading = reader?.(fieldsOf(fieldsOf(event.data).object), event.created) ?? `${type} has no effect`;
  if (typeof reading === "string") return { kind: "noted", eventId, what: reading };
  if (reading instanceof Error) return { kind: "unusable", eventId, reason: reading.message };
  if ("disputeId" in reading) return { kind: "disputed", eventId, dispute: reading };
  return { kind: "event", event: { eventId, ...reading } };
}

function paid(session: Fields): Reading {
  const paymentId = idOf(session.payment_intent);
  const orderId = session.client_reference_id ?? fieldsOf(session.metadata).order_id;
  const amount = fromStripe(session.amount_total, session.currency);
  if (!isText(orderId)) return new Error("the checkout names no order");
  if (!paymentId) return new Error("the checkout names no payment");
  if (!amount) return new Error("the amount is not a positive whole number of minor units with a currency");
  return { kind: "paid", paymentId, orderId, amount };
}

/** A refund that was made in Stripe's Dashboard lacks our id; its event has Stripe's id, which we do not know. */
function refunded(refund: Fields): Reading {
  const metadata = fieldsOf(refund.metadata);
  const refundId = metadata.refund_id ?? refund.id;
  const paymentId = idOf(refund.payment_intent) ?? idOf(refund.charge);
  const amount = fromStripe(refund.amount, refund.currency);
  if (!isText(refundId) || !paymentId) return new Error("the refund names no payment");
  if (!amount) return new Error("the amount is not a positive whole number of minor units with a currency");
  const orderId = isText(metadata.order_id) ? metadata.order_id : "";
  switch (refund.status) {
    case "succeeded":
      return { kind: "refunded", paymentId, orderId, amount, refundId };
    case "failed":
    case "canceled":
      return { kind: "refund_failed", paymentId, orderId, amount, refundId };
    default:
      return "the refund is pending";
  }
}

/** An inquiry (`warning_…`) is a dispute for which Stripe has not yet withdrawn money. */
const DISPUTE_STATES: Readonly<Record<string, Dispute["state"]>> = {
  warning_needs_response: "open",
  warning_under_review: "open",
  needs_response: "open",
  under_review: "open",
  warning_closed: "closed",
  prevented: "closed",
  won: "won",
  lost: "lost",
};

function disputed(dispute: Fields, createdSeconds: unknown): Dispute | Error {
  const [disputeId, paymentId] = [idOf(dispute.id), idOf(dispute.payment_intent) ?? idOf(dispute.charge)];
  const amount = fromStripe(dispute.amount, dispute.currency);
  const state = typeof dispute.status === "string" ? DISPUTE_STATES[dispute.status] : undefined;
  if (!disputeId || !paymentId) return new Error("the dispute names no payment");
  if (!amount) return new Error("the amount is not a positive whole number of minor units with a currency");
  if (!state || !Number.isSafeInteger(createdSeconds))
    return new Error("the dispute has no known state or time");
  const reason = typeof dispute.reason === "string" ? shortenLine(dispute.reason, REASON_MAX_LENGTH) : "";
  // One transaction for each amount that Stripe withdraws or reinstates for the dispute.
  const booked = Array.isArray(dispute.balance_transactions) ? dispute.balance_transactions : [];
  const balance = booked.reduce((sum: number, one) => sum + Number(fieldsOf(one).amount ?? 0), 0);
  const at = isoTime((createdSeconds as number) * 1000);
  return { disputeId, paymentId, amount, reason: reason || "unknown", state, withdrawn: balance < 0, at };
}

/** The id of an object. Stripe sends either the id or the whole object. */
export function idOf(value: unknown): string | undefined {
  const id = typeof value === "string" ? value : fieldsOf(value).id;
  return isText(id) ? id : undefined;
}
