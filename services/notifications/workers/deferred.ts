import { message } from "../../../contracts/messages.ts";
import { isoTime } from "../../../lib/clock.ts";
import type { Logger } from "../../../lib/logger.ts";
import { inBatches } from "../../../lib/messaging/runner.ts";
import type { Transaction } from "../../../lib/sql/database.ts";
import { deferredNotification, markDueQueued } from "../store/deferred.repository.ts";
import { failUnsettled } from "../store/notifications.repository.ts";
import { recipientsOf } from "../store/recipients.repository.ts";
import {
  dropNotification,
  type OutgoingNotification,
  outcomeOf,
  type SendingDeps,
  sendStored,
} from "./sending.ts";

const BATCH = 100;

/** Enqueues a `notification.due` message for each deferred notification that is due, in batches until none is left. */
export async function queueDue(deps: SendingDeps, stopping?: AbortSignal): Promise<void> {
  const work = () =>
    deps.postgres.transact(async (trx) => {
      const ids = await markDueQueued(trx, isoTime(deps.clock.now()), BATCH);
      await deps.outbox.add(
        trx,
        ids.map((id) => message("notification.due", id, { version: 1, notificationId: id })),
      );
      return ids.length;
    });
  await inBatches(BATCH, work, stopping);
}

/**
 * Delivers a deferred notification after the quiet hours, with the current preferences and addresses. A notification
 * about an order is dropped when a newer one about the same order exists.
 * @throws Error when the delivery failed and a retry may succeed
 */
export async function deliverDeferred(
  deps: SendingDeps,
  id: string,
  logger: Pick<Logger, "warn">,
): Promise<((trx: Transaction) => Promise<void>) | undefined> {
  const deferred = await deferredNotification(deps.postgres.db, id);
  if (!deferred) return undefined;
  const { orderVersion, newestVersion, mail, ...row } = deferred;
  if (orderVersion !== undefined && newestVersion !== undefined && newestVersion > orderVersion) {
    return (trx) => dropNotification(deps, trx, row);
  }
  const { userId, orderId, event, title, body } = row;
  const person = (await recipientsOf(deps.postgres.db, [userId])).get(userId);
  const outgoing: OutgoingNotification = {
    notification: { messageId: id, addressee: userId, userId, orderId, event, title, body },
    deferrable: { orderVersion },
    wasDeferred: true,
    ...(mail && { mailText: mail }),
    ...(person && { recipient: person }),
  };
  return sendStored(deps, [{ row, outgoing }], logger);
}

/** Marks it as failed after its last try. An operator can replay it. */
export async function failDeferred(deps: SendingDeps, trx: Transaction, id: string): Promise<void> {
  const failed = await failUnsettled(trx, id);
  if (failed) await deps.outbox.add(trx, [outcomeOf(failed, "notification.failed")]);
}
