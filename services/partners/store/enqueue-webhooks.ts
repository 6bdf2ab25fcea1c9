import type { Knex } from "knex";
import type { Message } from "../../../contracts/messages.ts";
import { newId } from "../../../lib/ids.ts";
import { currentTraceparent } from "../../../lib/tracing/index.ts";
import { informationBody, preparationBody, type ToldEvent } from "../domain/webhook-events.ts";
import { insertWebhook, stopPreparation, wasAnnounced } from "./webhook-deliveries.repository.ts";
import { findEndpoint } from "./webhook-endpoint.repository.ts";

/**
 * The partner's system is to be told to prepare the order; once, however often the order says that it is paid. The time
 * to accept begins with the first try, whenever that is.
 */
export async function enqueuePreparation(
  trx: Knex.Transaction,
  paid: Message<"order.paid">,
  publicUrl: string,
): Promise<void> {
  const { orderId, partnerId, deadlineAt } = paid.data;
  if (await wasAnnounced(trx, orderId)) return;
  await insertWebhook(trx, {
    ...{ id: newId(), deliveryId: newId(), partnerId, messageId: paid.id, type: paid.type, orderId },
    urgency: "preparation",
    body: preparationBody(paid, `${publicUrl}/api/v1/webhooks/partners/${partnerId}`),
    deadlineAt,
    traceparent: currentTraceparent() ?? paid.traceparent,
  });
}

/** The order ended: nobody tells the partner to prepare it any more. */
export async function stopWebhook(trx: Knex.Transaction, orderId: string): Promise<void> {
  await stopPreparation(trx, orderId);
}

/** News of an order, for a partner that was told of it and has a system that listens. */
export async function enqueueInformation(trx: Knex.Transaction, news: Message<ToldEvent>): Promise<void> {
  const { orderId, partnerId } = news.data;
  if (!(await wasAnnounced(trx, orderId))) return;
  const endpoint = await findEndpoint(trx, partnerId);
  if (!endpoint?.apiUrl || !endpoint.webhookSecret) return;
  await insertWebhook(trx, {
    ...{ id: newId(), deliveryId: newId(), partnerId, messageId: news.id, type: news.type, orderId },
    urgency: "information",
    body: informationBody(news),
    traceparent: currentTraceparent() ?? news.traceparent,
  });
}
