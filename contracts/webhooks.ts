import { orderStatus } from "./order-status.ts";
import {
  currency,
  httpUrl,
  type Infer,
  integer,
  listOf,
  matching,
  object,
  oneOf,
  optional,
  type Props,
  type Rule,
  text,
  time,
  uuid,
  version,
} from "./schema.ts";
import { orderNumber } from "./shared.ts";

/**
 * The messages between the platform and the systems of partners and banks, in the names of the wire. From here come the
 * section `webhooks` and the bodies of callbacks in the OpenAPI document, the check of partners' callbacks, and the types
 * of what is sent. docs/partners.md and docs/banks.md explain it.
 */

const about = <const R extends Rule>(description: string, rule: R) => ({ ...rule, description }) as R;
/** Ids of events, of either side. */
const eventId = text(200);

/** An object to which later releases may add fields. */
function extensible<const P extends Props>(props: P) {
  return { type: "object", strict: "remove", props } as const;
}

/** An event that the platform sends to a partner's system. */
function sent<const T extends string, const D extends Rule>(type: T, data: D) {
  return extensible({
    id: about("Equals the header webhook-id, and stays the same over all attempts.", eventId),
    type: oneOf(type),
    timestamp: about("When it happened.", time),
    data,
  });
}

const orderFields = {
  order_id: uuid,
  number: optional(about("The short number for people, unique for a partner and a day.", orderNumber)),
  partner_id: uuid,
  version: about("Rises with each change of the order. The higher one is newer.", version),
} as const;

const changedOrder = extensible({
  ...orderFields,
  status: orderStatus,
  previous_status: optional(orderStatus),
  reason: optional(text(500)),
});

const changed = <const T extends string>(type: T) => sent(type, changedOrder);

export const webhookLine = extensible({
  product_id: uuid,
  title: text(160),
  quantity: integer(1, 99),
  unit_price: extensible({ amount_minor: integer(0, Number.MAX_SAFE_INTEGER), currency }),
});

/** Everything that the platform sends to a partner's system, by type. */
export const partnerWebhooks = {
  "order.paid": sent(
    "order.paid",
    extensible({
      ...orderFields,
      customer: optional(extensible({ first_name: text(100, 0) })),
      lines: listOf(webhookLine),
      note: optional(text(500)),
      respond_by: optional(
        about("Without order.accepted or order.rejected by then the order is cancelled.", time),
      ),
      callback_url: about("Where to send the callbacks about this order.", httpUrl),
    }),
  ),
  "order.cancelled": changed("order.cancelled"),
  "order.rejected": changed("order.rejected"),
  "order.assigned": changed("order.assigned"),
  "order.released": changed("order.released"),
  "order.delivered": changed("order.delivered"),
  "order.failed": changed("order.failed"),
  "webhook.test": sent("webhook.test", extensible({ partner_id: uuid })),
} as const;
export type PartnerWebhook = keyof typeof partnerWebhooks;
export type PartnerWebhookData<T extends PartnerWebhook> = Infer<(typeof partnerWebhooks)[T]>["data"];

/** When the platform sends each event, for the documentation. */
export const partnerWebhookTexts: Readonly<Record<PartnerWebhook, string>> = {
  "order.paid": "An order to prepare: answer it with the callback `order.accepted` or `order.rejected`",
  "order.cancelled": "An order that the partner received was cancelled",
  "order.rejected": "Staff of the partner or an operator rejected the order by hand",
  "order.assigned": "A courier has taken the order and will collect it",
  "order.released": "The courier has given the order back; another one will collect it",
  "order.delivered": "The order was handed over",
  "order.failed": "The delivery failed",
  "webhook.test": "Sent by `POST /partners/{partner_id}/webhook/test`",
};

/** A report that a partner's system sends about an order. */
function reported<const T extends string, const D extends object>(type: T, more: D) {
  return object({
    id: optional(eventId),
    type: oneOf(type),
    timestamp: optional(about("When it happened, by the clock of the partner's system.", time)),
    data: object({ order_id: uuid, ...more }),
  });
}

const reason = about("The customer reads it.", text(500));
const readyAt = about("The promised time, at most 24 hours ahead. A past time counts as now.", time);

/** The callbacks of partners' systems, by type. */
export const partnerCallbacks = {
  "order.accepted": reported("order.accepted", { ready_at: optional(readyAt) }),
  "order.delayed": reported("order.delayed", { ready_at: readyAt, reason: optional(reason) }),
  "order.ready": reported("order.ready", {}),
  "order.rejected": reported("order.rejected", { reason: optional(reason) }),
} as const;

/**
 * A callback of any type. Fields that mean nothing with its type are accepted, because systems that were written for an
 * earlier release send them.
 */
export const partnerCallbackBody = object({
  id: optional(eventId),
  type: oneOf("order.accepted", "order.rejected", "order.delayed", "order.ready"),
  timestamp: optional(time),
  data: object({ order_id: uuid, reason: optional(text(500)), ready_at: optional(time) }),
});

/** A report that a payment system with the adapter `sandbox` sends. */
function bankReport<const T extends string, const D extends object>(type: T, more: D) {
  return object({
    type: oneOf(type),
    data: object({
      payment_id: bankText,
      order_id: uuid,
      amount_minor: integer(1, Number.MAX_SAFE_INTEGER),
      currency,
      ...more,
    }),
  });
}

const bankText = matching(/^[\x21-\x7e]+$/, 200, "printable ASCII without spaces");

/** The reports of payment systems with the adapter `sandbox`, by type. */
export const bankReports = {
  "payment.succeeded": bankReport("payment.succeeded", {}),
  "payment.failed": bankReport("payment.failed", {}),
  "refund.completed": bankReport("refund.completed", { refund_id: bankText }),
} as const;

/** The reports of Stripe that have an effect, or are noted. Stripe's own documentation describes their data. */
export const stripeReportTypes = [
  "checkout.session.completed",
  "checkout.session.async_payment_succeeded",
  "checkout.session.async_payment_failed",
  "checkout.session.expired",
  "refund.created",
  "refund.updated",
  "refund.failed",
  "charge.refund.updated",
  "charge.dispute.created",
  "charge.dispute.updated",
  "charge.dispute.closed",
  "charge.dispute.funds_withdrawn",
  "charge.dispute.funds_reinstated",
] as const;

export const stripeReport = extensible({
  id: bankText,
  object: oneOf("event"),
  type: oneOf(...stripeReportTypes),
  created: integer(0, Number.MAX_SAFE_INTEGER),
  data: extensible({ object: extensible({}) }),
});
