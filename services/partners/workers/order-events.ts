import { type Message, message as newMessage } from "../../../contracts/messages.ts";
import type { Transaction } from "../../../lib/sql/database.ts";
import { shortenLine } from "../../../lib/text.ts";
import type { Handlers } from "../../../mixins/consumer/consumer.mixin.ts";
import type { PartnersDependencies } from "../dependencies.ts";
import type { WebhookEvent } from "../domain/webhook-events.ts";
import { cancelPreparation, enqueueInformation, enqueuePreparation } from "../store/enqueue-webhooks.ts";
import { applyOrderEvent, applyPaidOrder } from "./reservations.ts";

const NOTICE_DETAIL_MAX = 500;

interface OrderHandlerDependencies
  extends Pick<PartnersDependencies, "outbox" | "orderState" | "wakeSenderAfter"> {
  publicUrl: string;
}

/** Handlers of order messages. They update the reservation of the order and enqueue webhooks to the partner's system. */
export function orderHandlers({
  outbox,
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
        if (await applyPaidOrder({ outbox, orderState }, trx, message.data, replayed)) {
          await sendAfter(trx, enqueuePreparation(trx, message, publicUrl));
        }
      },
      async dead(trx, { data: { orderId, partnerId } }, error) {
        const detail = shortenLine(`order.paid is a dead letter of Partners: ${error}`, NOTICE_DETAIL_MAX);
        const notice = { version: 1, orderId, partnerId, outcome: "held_up" as const, detail };
        await outbox.add(trx, [newMessage("partner.notified", orderId, notice)]);
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
      async inTransaction(trx, { data }) {
        await applyOrderEvent({ outbox }, trx, data);
        await cancelPreparation(trx, data.orderId);
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
