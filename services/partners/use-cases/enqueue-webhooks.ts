import type { Message, OrderSnapshot } from "../../../contracts/messages.ts";
import { newId } from "../../../lib/ids.ts";
import type { Transaction } from "../../../lib/sql/database.ts";
import { currentTraceparent } from "../../../lib/tracing/index.ts";
import { informationBody, preparationBody, type WebhookEvent } from "../domain/webhook-events.ts";
import {
  hasPreparationWebhook,
  insertWebhooks,
  type NewWebhook,
  stopPreparation,
} from "../store/webhook-deliveries.repository.ts";
import { findEndpoint, findEndpoints, takesWebhooks } from "../store/webhook-endpoint.repository.ts";

/**
 * Enqueues the preparation webhook of each order once, also when `order.paid` is repeated. The partner's time to accept
 * starts with the first attempt.
 * @param paid one message of each order
 * @returns the orders of partners without an endpoint, which take orders by hand
 */
export async function enqueuePreparations(
  trx: Transaction,
  paid: readonly Message<"order.paid">[],
  publicUrl: string,
): Promise<OrderSnapshot[]> {
  const endpoints = await findEndpoints(trx, [...new Set(paid.map(({ data }) => data.partnerId))]);
  const byHand: OrderSnapshot[] = [];
  const webhooks: NewWebhook[] = [];
  for (const message of paid) {
    const { orderId, partnerId, deadlineAt, acceptanceMinutes } = message.data;
    const endpoint = endpoints.get(partnerId);
    if (endpoint && !takesWebhooks(endpoint)) {
      if (!(await hasPreparationWebhook(trx, orderId))) byHand.push(message.data);
      continue;
    }
    webhooks.push({
      ...{ id: newId(), deliveryId: newId(), partnerId, messageId: message.id, type: message.type, orderId },
      urgency: "preparation",
      body: preparationBody(message, `${publicUrl}/api/v1/webhooks/partners/${partnerId}`),
      ...{ deadlineAt, acceptanceMinutes },
      traceparent: paid.length === 1 ? (currentTraceparent() ?? message.traceparent) : message.traceparent,
    });
  }
  await insertWebhooks(trx, webhooks);
  return byHand;
}

/** Stops the preparation webhook of an order that ended. */
export async function cancelPreparation(trx: Transaction, orderId: string): Promise<void> {
  await stopPreparation(trx, orderId);
}

/** Enqueues an information webhook if the partner received the order and has an endpoint. */
export async function enqueueInformation(trx: Transaction, event: Message<WebhookEvent>): Promise<void> {
  const { orderId, partnerId } = event.data;
  if (!(await hasPreparationWebhook(trx, orderId))) return;
  const endpoint = await findEndpoint(trx, partnerId);
  if (!endpoint?.apiUrl || !endpoint.webhookSecret) return;
  await insertWebhooks(trx, [
    {
      ...{ id: newId(), deliveryId: newId(), partnerId, messageId: event.id, type: event.type, orderId },
      urgency: "information",
      body: informationBody(event),
      traceparent: currentTraceparent() ?? event.traceparent,
    },
  ]);
}
