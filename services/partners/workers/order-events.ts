import { type Message, message as newMessage, type OrderSnapshot } from "../../../contracts/messages.ts";
import type { PartnerNotice } from "../../../contracts/partner-notices.ts";
import type { Transaction } from "../../../lib/sql/database.ts";
import { shortenLine } from "../../../lib/text.ts";
import type { Handlers } from "../../../mixins/consumer/consumer.mixin.ts";
import type { PartnersDependencies } from "../dependencies.ts";
import type { WebhookEvent } from "../domain/webhook-events.ts";
import { cancelPreparation, enqueueInformation, enqueuePreparations } from "../use-cases/enqueue-webhooks.ts";
import {
  advanceUsual,
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
    orders: readonly OrderSnapshot[],
    result: Pick<PartnerNotice, "outcome" | "detail">,
  ) =>
    outbox.add(
      trx,
      orders.map(({ orderId, partnerId }) =>
        newMessage("partner.notified", orderId, { version: 1, orderId, partnerId, ...result }),
      ),
    );
  /** Enqueues webhooks for orders whose reservation is theirs. */
  const inform = async (trx: Transaction, paid: readonly Message<"order.paid">[]) => {
    const byHand = await enqueuePreparations(trx, paid, publicUrl);
    if (byHand.length < paid.length) wakeSenderAfter(trx);
    // Nothing is sent: the partner's staff see the order in their list, and their time to accept begins.
    await notify(trx, byHand, { outcome: "no_endpoint" });
  };
  const applyCreated = async (trx: Transaction, { data }: Message<"order.created">) => {
    await applyOrderEvent({ outbox }, trx, data);
  };
  const applyPaid = async (trx: Transaction, message: Message<"order.paid">, replayed: boolean) => {
    // False when the order was cancelled before this message arrived.
    if (await applyPaidOrder({ outbox, orderState }, trx, message.data, replayed))
      await inform(trx, [message]);
  };
  /** Advances the usual reservations of a batch together, for the first message of each order. */
  const advance = async <T extends Message<"order.created" | "order.paid">>(
    trx: Transaction,
    messages: readonly T[],
  ) => {
    const firsts = [...Map.groupBy(messages, ({ data }) => data.orderId).values()].map(
      ([first]) => first as T,
    );
    const advanced = await advanceUsual(
      trx,
      firsts.map(({ data }) => data),
    );
    const usual = firsts.filter(({ data }) => advanced.has(data.orderId));
    return { usual, others: messages.filter((message) => !usual.includes(message)) };
  };
  return {
    "order.created": {
      inTransaction: applyCreated,
      async batch(trx, messages) {
        const { others } = await advance(trx, messages);
        for (const message of others) await applyCreated(trx, message);
      },
    },
    "order.paid": {
      inTransaction: (trx, message, { replayed }) => applyPaid(trx, message, replayed),
      async batch(trx, messages) {
        const { usual, others } = await advance(trx, messages);
        if (usual.length > 0) await inform(trx, usual);
        for (const message of others) await applyPaid(trx, message, false);
      },
      async dead(trx, { data }, error) {
        const detail = shortenLine(`order.paid is a dead letter of Partners: ${error}`, NOTICE_DETAIL_MAX);
        await notify(trx, [data], { outcome: "held_up", detail });
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
