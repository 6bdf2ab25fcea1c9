import type { Message } from "../../../contracts/messages.ts";
import type { PartnerWebhook, PartnerWebhookData } from "../../../contracts/webhooks.ts";
import type { Urgency } from "./webhook-schedule.ts";

/** Events that partners' systems receive, with their urgency. A system does not receive the events that it caused. */
export const webhookUrgencies = {
  "order.paid": "preparation",
  "order.cancelled": "information",
  "order.rejected": "information",
  "order.assigned": "information",
  "order.released": "information",
  "order.delivered": "information",
  "order.failed": "information",
} as const satisfies Partial<Record<PartnerWebhook, Urgency>>;

export type WebhookEvent = keyof typeof webhookUrgencies;

/** The order to prepare: lines, first name of the customer, deadline to accept and callback URL. */
export function preparationBody(message: Message<"order.paid">, callbackUrl: string): string {
  const { orderId, number, partnerId, version, customer, lines, note, deadlineAt } = message.data;
  const data: Optionals<PartnerWebhookData<"order.paid">> = {
    order_id: orderId,
    number,
    partner_id: partnerId,
    version,
    customer: { first_name: firstNameOf(customer.name) },
    lines: lines.map(({ productId, title, quantity, unitPrice }) => ({
      product_id: productId,
      title,
      quantity,
      unit_price: { amount_minor: unitPrice.amountMinor, currency: unitPrice.currency },
    })),
    note,
    respond_by: deadlineAt,
    callback_url: callbackUrl,
  };
  return bodyOf(message, data);
}

/**
 * The body of an attempt. A preparation that is sent again long after the payment has neither the customer nor the note.
 * @param visibleMs how long the partner sees them
 */
export function bodyToSend(
  { type, body, ageMs }: { type: string; body: string; ageMs: number },
  visibleMs: number,
): string {
  if (type !== "order.paid" || ageMs <= visibleMs) return body;
  const { data, ...message } = JSON.parse(body) as { data: Record<string, unknown> };
  const { customer: _, note: __, ...rest } = data;
  return JSON.stringify({ ...message, data: rest });
}

/** A change of an order that the partner knows. */
export function informationBody(message: Message<WebhookEvent>): string {
  const { orderId, number, partnerId, version, status, previousStatus, reason } = message.data;
  const data: Optionals<PartnerWebhookData<WebhookEvent>> = {
    order_id: orderId,
    number,
    partner_id: partnerId,
    version,
    status,
    previous_status: previousStatus,
    reason,
  };
  return bodyOf(message, data);
}

export function testBody(id: string, partnerId: string, timestamp: string): string {
  return bodyOf({ id, type: "webhook.test", time: timestamp }, { partner_id: partnerId });
}

/** JSON leaves out fields that are undefined. */
type Optionals<T> = { [K in keyof T]: T[K] | (undefined extends T[K] ? undefined : never) };

function bodyOf({ id, type, time }: { id: string; type: string; time: string }, data: object): string {
  return JSON.stringify({ id, type, timestamp: time, data });
}

function firstNameOf(name: string): string {
  return name.trim().split(/\s+/)[0] ?? "";
}
