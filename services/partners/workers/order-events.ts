import type { Knex } from "knex";
import { type Message, message as newMessage } from "../../../contracts/messages.ts";
import { shortenLine } from "../../../lib/text.ts";
import type { Handlers } from "../../../mixins/consumer/consumer.mixin.ts";
import type { OrderState, PartnersDependencies, Sender } from "../dependencies.ts";
import type { ToldEvent } from "../domain/webhook-events.ts";
import { enqueueInformation, enqueuePreparation, stopWebhook } from "../store/enqueue-webhooks.ts";
import { followOrder, followPaidOrder } from "./reservations.ts";

const NOTICE_DETAIL_MAX = 500;

interface NewsDeps extends Pick<PartnersDependencies, "outbox"> {
  orderState: OrderState;
  sender: Sender;
  publicUrl: string;
}

/** What Partners does when it hears of an order: its stock follows, and the partner's system is told. */
export function orderHandlers({ outbox, orderState, sender, publicUrl }: NewsDeps): Handlers {
  const tellAfter = async (trx: Knex.Transaction, told: Promise<void>) => {
    await told;
    sender.wakeAfter(trx);
  };
  const news = {
    inTransaction: (trx: Knex.Transaction, message: Message<ToldEvent>) =>
      tellAfter(trx, enqueueInformation(trx, message)),
  };
  return {
    "order.created": {
      batch: true,
      async inTransaction(trx, { data }) {
        await followOrder({ outbox }, trx, data);
      },
    },
    "order.paid": {
      async inTransaction(trx, message, { replayed }) {
        // Old news: the order was cancelled before its payment got here.
        if (await followPaidOrder({ outbox, orderState }, trx, message.data, replayed)) {
          await tellAfter(trx, enqueuePreparation(trx, message, publicUrl));
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
        await followOrder({ outbox }, trx, message.data);
        await stopWebhook(trx, message.data.orderId);
        await tellAfter(trx, enqueueInformation(trx, message));
      },
    },
    "order.rejected": {
      async inTransaction(trx, { data }) {
        await followOrder({ outbox }, trx, data);
        await stopWebhook(trx, data.orderId);
      },
    },
    "order.expired": {
      async inTransaction(trx, { data }) {
        await followOrder({ outbox }, trx, data);
      },
    },
    "order.assigned": news,
    "order.released": news,
    "order.delivered": news,
    "order.failed": news,
  };
}
