import { type Message, message as newMessage, type OrderSnapshot } from "../../../contracts/messages.ts";
import type { PartnerNotice } from "../../../contracts/partner-notices.ts";
import type { Transaction } from "../../../lib/sql/database.ts";
import { shortenLine } from "../../../lib/text.ts";
import type { Handlers } from "../../../mixins/consumer/consumer.mixin.ts";
import type { PartnersDependencies } from "../dependencies.ts";
import type { WebhookEvent } from "../domain/webhook-events.ts";
import { cancelPreparation, enqueueInformation, enqueuePreparation } from "../use-cases/enqueue-webhooks.ts";
import {
  applyOrderEvent,
  applyPaidOrder,
  applyRejectedOrder,
  type CatalogueDependencies,
} from "./reservations.ts";

const NOTICE_DETAIL_MAX = 500;

interface OrderHandlerDependencies
  extends Pick<PartnersDependencies, "outbox" | "orderState" | "wakeSenderAfter">,
    CatalogueDependencies {
  publicUrl: string;
}

/** Handlers of order messages. They update the reservation of the order and enqueue webhooks to the partner's system. */
export function orderHandlers({
  outbox,
  catalogueOutbox,
  orderState,
  wakeSenderAfter,
  publicUrl,
}: OrderHandlerDependencies): Handlers {
  const sendAfter = async (trx: Transaction, enqueued: Promise<void>) => {
    await enqueued;
    wakeSenderAfter(trx);
  };
  const information = {
    inTransaction: (trx: Transaction, message: Message<WebhookEvent>) =>
      sendAfter(trx, enqueueInformation(trx, message)),
  };
  const notify = (
    trx: Transaction,
    { orderId, partnerId }: OrderSnapshot,
    result: Pick<PartnerNotice, "outcome" | "detail">,
  ) => {
    const notice = { version: 1, orderId, partnerId, ...result };
    return outbox.add(trx, [newMessage("partner.notified", orderId, notice)]);
  };
  return {
    "order.created": {
      batch: true,
      async inTransaction(trx, { data }) {
        await applyOrderEvent({ outbox }, trx, data);
      },
    },
    "order.paid": {
      async inTransaction(trx, message, { replayed }) {
        // False when the order was cancelled before this message arrived.
        if (!(await applyPaidOrder({ outbox, orderState }, trx, message.data, replayed))) return;
        if (await enqueuePreparation(trx, message, publicUrl)) return wakeSenderAfter(trx);
        // Nothing is sent: the partner's staff see the order in their list, and their time to accept begins.
        await notify(trx, message.data, { outcome: "no_endpoint" });
      },
      async dead(trx, { data }, error) {
        const detail = shortenLine(`order.paid is a dead letter of Partners: ${error}`, NOTICE_DETAIL_MAX);
        await notify(trx, data, { outcome: "held_up", detail });
      },
    },
    "order.cancelled": {
      async inTransaction(trx, message) {
        await applyOrderEvent({ outbox }, trx, message.data);
        await cancelPreparation(trx, message.data.orderId);
        await sendAfter(trx, enqueueInformation(trx, message));
      },
    },
    "order.rejected": {
      async inTransaction(trx, message) {
        await applyRejectedOrder({ outbox, catalogueOutbox }, trx, message);
        const { orderId, partnerId, actor } = message.data;
        await cancelPreparation(trx, orderId);
        // The partner's system knows its own rejection, but not that of the staff.
        if (actor !== `partner:${partnerId}`) await sendAfter(trx, enqueueInformation(trx, message));
      },
    },
    "order.expired": {
      async inTransaction(trx, { data }) {
        await applyOrderEvent({ outbox }, trx, data);
      },
    },
    "order.assigned": information,
    "order.released": information,
    "order.delivered": information,
    "order.failed": information,
  };
}
