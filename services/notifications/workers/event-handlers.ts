import { alertIdOf } from "../../../contracts/alerts.ts";
import type { Message } from "../../../contracts/messages.ts";
import { isoTime } from "../../../lib/clock.ts";
import type { Transaction } from "../../../lib/sql/database.ts";
import type { Handler, Handlers } from "../../../mixins/consumer/handlers.ts";
import { audience, type OrderMessageType } from "../domain/audience.ts";
import { acceptUntilMs, halfWayMs } from "../domain/reminders.ts";
import { projection } from "../projections/history.ts";
import {
  type DeviceOwner,
  endSessions,
  hasEnded,
  type NewToken,
  saveToken,
} from "../store/devices.repository.ts";
import { recordOrders, type SeenOrder } from "../store/notifications.repository.ts";
import { eraseRecipient, isErased, saveRecipient } from "../store/recipients.repository.ts";
import { deliverDeferred, failDeferred } from "./deferred.ts";
import {
  alertNotifications,
  directNotification,
  nearNotifications,
  orderNotifications,
  refundNotifications,
} from "./outgoing-notifications.ts";
import { remind, reminderFailed } from "./reminders.ts";
import { failPendingOfMessage, type SendingDeps, sendNotifications } from "./sending.ts";

/** A notification about an order is useless much later, so there are few retries. */
const ORDER_RETRY_DELAYS_MS = [2_000, 10_000, 60_000];
/** The user waits for a code, and it expires. */
const DIRECT_RETRY_DELAYS_MS = [500, 2_000, 10_000, 60_000, 180_000];
/**
 * Messages may arrive out of order within this time: all are sent. An older message that arrives later than this after
 * a newer one is not sent.
 */
const STALE_AFTER_MS = 30_000;
/** A courier who was near so long ago has arrived meanwhile. */
const NEAR_MS = 300_000;

type HistoryEventType = `notification.${"sent" | "failed" | "muted" | "held" | "dropped"}`;

/** The message handlers of the consumer group. */
export function handlers(deps: SendingDeps): Handlers {
  const dead = (trx: Transaction, { id }: Message) => failPendingOfMessage(deps, trx, id);
  const project = projection(deps);
  const projectToHistory = <T extends HistoryEventType>(): Handler<T> => ({
    needs: deps.documents,
    idempotent: true,
    async external({ data }) {
      await project(data.notificationId);
    },
  });
  const order: Handler<OrderMessageType> = {
    schedule: ORDER_RETRY_DELAYS_MS,
    dead,
    async external(message, lease) {
      // The order is recorded at every attempt, since the first may have failed before it was. Only the first attempt
      // checks whether the message is stale: later ones finish the sending that it began.
      const isStale = await recordOrderVersion(deps, message);
      if (isStale && lease.attempt === 1) return undefined;
      return sendNotifications(
        deps,
        await orderNotifications(deps.postgres.db, await deps.templateOverrides.current(), message),
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
    // No notification is sent, but the order is recorded: a refund may follow while it is still unpaid.
    "order.created": {
      async inTransaction(trx, message) {
        await recordOrders(trx, [versionOf(message)]);
      },
      async batch(trx, messages) {
        await recordOrders(trx, messages.map(versionOf));
      },
    },
    "notification.requested": {
      // Codes and links go by mail only, in workers of their own, so that slow pushes do not delay them.
      workers: "mails",
      schedule: DIRECT_RETRY_DELAYS_MS,
      dead,
      external: async (message, lease) =>
        sendNotifications(
          deps,
          [directNotification(deps, await deps.templateOverrides.current(), message)],
          lease,
        ),
    },
    "courier.near": {
      schedule: ORDER_RETRY_DELAYS_MS,
      dead,
      async external(message, lease) {
        if (lease.attempt === 1 && deps.clock.now() - Date.parse(message.time) > NEAR_MS) return undefined;
        return sendNotifications(
          deps,
          await nearNotifications(deps.postgres.db, await deps.templateOverrides.current(), message),
          lease,
        );
      },
    },
    "refund.completed": {
      schedule: ORDER_RETRY_DELAYS_MS,
      dead,
      external: async (message, lease) =>
        sendNotifications(
          deps,
          await refundNotifications(deps.postgres.db, await deps.templateOverrides.current(), message),
          lease,
        ),
    },
    "alert.raised": {
      workers: "alerts",
      schedule: DIRECT_RETRY_DELAYS_MS,
      dead: (trx, message) => failPendingOfMessage(deps, trx, alertIdOf(message)),
      external: async (message, lease) =>
        sendNotifications(
          deps,
          await alertNotifications(deps.postgres.db, await deps.templateOverrides.current(), message),
          lease,
        ),
    },
    "notification.sent": projectToHistory(),
    "notification.failed": projectToHistory(),
    "notification.muted": projectToHistory(),
    "notification.held": projectToHistory(),
    "notification.dropped": projectToHistory(),
    "notification.due": {
      schedule: ORDER_RETRY_DELAYS_MS,
      dead: (trx, { data }) => failDeferred(deps, trx, data.notificationId),
      external: async ({ data }, { logger }) => deliverDeferred(deps, data.notificationId, logger),
    },
    "notification.reminder_due": {
      schedule: ORDER_RETRY_DELAYS_MS,
      dead: async (trx, message) => {
        await dead(trx, message);
        await reminderFailed(deps, trx, message);
      },
      external: (message, lease) => remind(deps, message, lease),
    },
    "user.registered": { inTransaction: (trx, { data }) => saveUser(trx, data) },
    "user.updated": { inTransaction: (trx, { data }) => saveUser(trx, data) },
    "user.device_added": {
      inTransaction: (trx, { data: { version: _, userId, sessionId, ...token } }) =>
        addDevice(trx, { userId, sessionId }, token),
    },
    "user.signed_out": { inTransaction: (trx, { data }) => endSessions(trx, data.userId, data.sessionIds) },
    "user.deleted": {
      needs: deps.documents,
      duringOutage: true, // the deletion in PostgreSQL does not wait for the document store
      async external({ data }) {
        await deps.postgres.transact((trx) => eraseRecipient(trx, data.userId, data.version));
        await deps.documents.remove({ userId: data.userId });
      },
    },
  };
}

async function saveUser(
  trx: Transaction,
  user: Message<"user.registered" | "user.updated">["data"],
): Promise<void> {
  if (!(await saveRecipient(trx, user)) || !user.pushToken) return;
  await addDevice(trx, { userId: user.userId }, { ...user.pushToken, language: user.language });
}

/** The message may arrive after the end of its session or after the deletion of its user. */
async function addDevice(trx: Transaction, owner: DeviceOwner, token: NewToken): Promise<void> {
  if ((await hasEnded(trx, owner)) || (await isErased(trx, owner.userId))) return;
  await saveToken(trx, owner, token);
}

/**
 * Records the order and its customer, who is the addressee of refunds.
 * @returns whether the message is stale: a newer version was sent, and this message is older than the limit
 */
async function recordOrderVersion(deps: SendingDeps, order: Message<OrderMessageType>): Promise<boolean> {
  const { orderId, version } = order.data;
  const nowMs = deps.clock.now();
  const seen = {
    ...versionOf(order),
    ...(order.type === "order.paid" && { reminder: reminderOf(order, nowMs) }),
  };
  const newest = (await recordOrders(deps.postgres.db, [seen])).get(orderId) ?? version;
  return newest > version && nowMs - Date.parse(order.time) > STALE_AFTER_MS;
}

/** The reminder of a paid order, for the staff of its partner. */
function reminderOf({ data, time }: Message<OrderMessageType>, nowMs: number): SeenOrder["reminder"] {
  const { partnerId, partnerTitle, number, total } = data;
  const untilMs = acceptUntilMs(data, Date.parse(time), nowMs);
  const content = { partnerId, partnerTitle, number, total, acceptUntil: isoTime(untilMs) };
  return { at: isoTime(halfWayMs(nowMs, untilMs)), content: { step: "staff", ...content } };
}

function versionOf({ data }: Message<OrderMessageType | "order.created">): SeenOrder {
  return { orderId: data.orderId, version: data.version, customerId: data.customer.id };
}
