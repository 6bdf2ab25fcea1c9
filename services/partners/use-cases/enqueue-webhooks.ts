import type { Message } from "../../../contracts/messages.ts";
import { newId } from "../../../lib/ids.ts";
import type { Transaction } from "../../../lib/sql/database.ts";
import { currentTraceparent } from "../../../lib/tracing/index.ts";
import { informationBody, preparationBody, type WebhookEvent } from "../domain/webhook-events.ts";
import {
  hasPreparationWebhook,
  insertWebhook,
  stopPreparation,
} from "../store/webhook-deliveries.repository.ts";
import { findEndpoint, takesWebhooks } from "../store/webhook-endpoint.repository.ts";

/**
 * Enqueues the preparation webhook of an order once, also when `order.paid` is repeated. The partner's time to accept starts
 * with the first attempt.
 * @returns false for a partner without an endpoint, which takes orders by hand
 */
export async function enqueuePreparation(
  trx: Transaction,
  paid: Message<"order.paid">,
  publicUrl: string,
): Promise<boolean> {
  const { orderId, partnerId, deadlineAt, acceptanceMinutes } = paid.data;
  const endpoint = await findEndpoint(trx, partnerId);
  if (endpoint && !takesWebhooks(endpoint)) return await hasPreparationWebhook(trx, orderId);
  await insertWebhook(trx, {
    ...{ id: newId(), deliveryId: newId(), partnerId, messageId: paid.id, type: paid.type, orderId },
    urgency: "preparation",
    body: preparationBody(paid, `${publicUrl}/api/v1/webhooks/partners/${partnerId}`),
    ...{ deadlineAt, acceptanceMinutes },
    traceparent: currentTraceparent() ?? paid.traceparent,
  });
  return true;
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
  await insertWebhook(trx, {
    ...{ id: newId(), deliveryId: newId(), partnerId, messageId: event.id, type: event.type, orderId },
    urgency: "information",
    body: informationBody(event),
    traceparent: currentTraceparent() ?? event.traceparent,
  });
}
