import type { Knex } from "knex";
import type { Message } from "../../../contracts/messages.ts";
import type { Handler, Handlers } from "../../../mixins/consumer/handlers.ts";
import { audience, type OrderMessageType } from "../domain/audience.ts";
import { project } from "../projections/history.ts";
import {
  type DeviceOwner,
  endSessions,
  hasEnded,
  type NewToken,
  saveToken,
} from "../store/devices.repository.ts";
import { noteOrder } from "../store/notifications.repository.ts";
import { forgetRecipient, isForgotten, saveRecipient } from "../store/recipients.repository.ts";
import { deliverDeferred, failDeferred } from "./deferred.ts";
import {
  alertIdOf,
  alertNotifications,
  directNotification,
  orderNotifications,
  refundNotifications,
} from "./outgoing-notifications.ts";
import { giveUp, type SendingDeps, sendNotifications } from "./sending.ts";

/** News of an order are of no use to anybody much later. */
const ORDER_WAITS_MS = [2_000, 10_000, 60_000];
/** A code is waited for, and expires. */
const DIRECT_WAITS_MS = [500, 2_000, 10_000, 60_000, 180_000];
/** Messages that merely overtook each other are all told; one that comes so late after newer news is not. */
const STALE_AFTER_MS = 30_000;

type ShownType = `notification.${"sent" | "failed" | "muted" | "held" | "dropped"}`;

/** What the consumer group does with each message that concerns it. */
export function handlers(deps: SendingDeps): Handlers {
  const dead = (trx: Knex.Transaction, { id }: Message) => giveUp(deps, trx, id);
  const projecting = <T extends ShownType>(): Handler<T> => ({
    needs: deps.documents,
    async external({ data }) {
      await project(deps, data.notificationId);
    },
  });
  const order: Handler<OrderMessageType> = {
    schedule: ORDER_WAITS_MS,
    dead,
    async external(message, lease) {
      // At every delivery, for the first may have ended before anybody knew of the order. A later one is not judged
      // again: the first has begun to tell.
      const isStale = await noteNews(deps, message);
      if (isStale && lease.attempt === 1) return undefined;
      return sendNotifications(
        deps,
        await orderNotifications(deps.postgres.db, await deps.texts.current(), message),
        lease,
      );
    },
  };
  return {
    ...(Object.fromEntries(
      Object.entries(audience)
        .filter(([, parts]) => parts.length > 0)
        .map(([type]) => [type, order]),
    ) as { [T in OrderMessageType]?: Handler<T> }),
    // No notification is sent, but the order is noted: a refund may follow while it is still unpaid.
    "order.created": {
      async inTransaction(trx, { data }) {
        await noteOrder(trx, data.orderId, data.version, data.customer.id);
      },
    },
    "notification.requested": {
      // Codes and links that somebody waits for go by mail alone: no push may hold them up.
      workers: "mails",
      schedule: DIRECT_WAITS_MS,
      dead,
      external: async (message, lease) =>
        sendNotifications(deps, [directNotification(deps.keys, await deps.texts.current(), message)], lease),
    },
    "refund.completed": {
      schedule: ORDER_WAITS_MS,
      dead,
      external: async (message, lease) =>
        sendNotifications(
          deps,
          await refundNotifications(deps.postgres.db, await deps.texts.current(), message),
          lease,
        ),
    },
    "alert.raised": {
      workers: "alerts",
      schedule: DIRECT_WAITS_MS,
      dead: (trx, message) => giveUp(deps, trx, alertIdOf(message)),
      external: async (message, lease) =>
        sendNotifications(
          deps,
          await alertNotifications(deps.postgres.db, await deps.texts.current(), message),
          lease,
        ),
    },
    "notification.sent": projecting(),
    "notification.failed": projecting(),
    "notification.muted": projecting(),
    "notification.held": projecting(),
    "notification.dropped": projecting(),
    "notification.due": {
      schedule: ORDER_WAITS_MS,
      dead: (trx, { data }) => failDeferred(deps, trx, data.notificationId),
      external: async ({ data }) => deliverDeferred(deps, data.notificationId),
    },
    "user.registered": { inTransaction: (trx, { data }) => keepUser(trx, data) },
    "user.updated": { inTransaction: (trx, { data }) => keepUser(trx, data) },
    "user.device_added": {
      inTransaction: (trx, { data: { version: _, userId, sessionId, ...token } }) =>
        addDevice(trx, { userId, sessionId }, token),
    },
    "user.signed_out": { inTransaction: (trx, { data }) => endSessions(trx, data.userId, data.sessionIds) },
    "user.deleted": {
      // Delivered at once all the same: what the database knows of the person does not wait for the store.
      needs: { available: () => true },
      async external({ data }) {
        await deps.postgres.transact((trx) => forgetRecipient(trx, data.userId, data.version));
        await deps.documents.remove({ userId: data.userId });
      },
    },
  };
}

async function keepUser(
  trx: Knex.Transaction,
  user: Message<"user.registered" | "user.updated">["data"],
): Promise<void> {
  if (!(await saveRecipient(trx, user)) || !user.pushToken) return;
  await addDevice(trx, { userId: user.userId }, { ...user.pushToken, language: user.language });
}

/** A message may come after the end of the session that it tells of, or after its person was deleted. */
async function addDevice(trx: Knex.Transaction, owner: DeviceOwner, token: NewToken): Promise<void> {
  if ((await hasEnded(trx, owner)) || (await isForgotten(trx, owner.userId))) return;
  await saveToken(trx, owner, token);
}

/** Notes the order, which its refunds are told by. @returns whether people know something newer for a while already */
async function noteNews(deps: SendingDeps, { data, time }: Message<OrderMessageType>): Promise<boolean> {
  const newest = await noteOrder(deps.postgres.db, data.orderId, data.version, data.customer.id);
  return newest > data.version && deps.clock.now() - Date.parse(time) > STALE_AFTER_MS;
}
