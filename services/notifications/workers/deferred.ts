import type { Knex } from "knex";
import { message } from "../../../contracts/messages.ts";
import { isoTime } from "../../../lib/clock.ts";
import { inBatches } from "../../../lib/messaging/runner.ts";
import { deferredNotification, takeDue } from "../store/deferred.repository.ts";
import { failUnsettled } from "../store/notifications.repository.ts";
import { recipientsOf } from "../store/recipients.repository.ts";
import { mailFor } from "./outgoing-notifications.ts";
import {
  dropNotification,
  type OutgoingNotification,
  outcomeOf,
  type SendingDeps,
  sendStored,
} from "./sending.ts";

const BATCH = 100;

/** Puts what has waited long enough into the queue, by a message each, until nothing is due. */
export async function queueDue(deps: SendingDeps, stopping?: AbortSignal): Promise<void> {
  const work = () =>
    deps.postgres.transact(async (trx) => {
      const ids = await takeDue(trx, isoTime(deps.clock.now()), BATCH);
      await deps.outbox.add(
        trx,
        ids.map((id) => message("notification.due", id, { version: 1, notificationId: id })),
      );
      return ids.length;
    });
  await inBatches(BATCH, work, stopping);
}

/**
 * Delivers what waited for the end of somebody's quiet hours, by their wishes and addresses of now. News of an order
 * that has newer ones are dropped.
 * @throws Error when it could not be delivered now but perhaps later
 */
export async function deliverDeferred(
  deps: SendingDeps,
  id: string,
): Promise<((trx: Knex.Transaction) => Promise<void>) | undefined> {
  const held = await deferredNotification(deps.postgres.db, id);
  if (!held) return undefined;
  const { orderVersion, newestVersion, mail, ...row } = held;
  if (orderVersion !== undefined && newestVersion !== undefined && newestVersion > orderVersion) {
    return (trx) => dropNotification(deps, trx, row);
  }
  const { userId, orderId, event, title, body } = row;
  const person = (await recipientsOf(deps.postgres.db, [userId])).get(userId);
  const letter: OutgoingNotification = {
    news: { messageId: id, addressee: userId, userId, orderId, event, title, body },
    waits: { orderVersion },
    held: true,
    ...(mail && { mailText: mail }),
    ...(mail && person && { mail: mailFor(mail, person) }),
  };
  return sendStored(deps, [{ row, letter }]);
}

/** Gives it up after its last try; an operator may have it tried again. */
export async function failDeferred(deps: SendingDeps, trx: Knex.Transaction, id: string): Promise<void> {
  const failed = await failUnsettled(trx, id);
  if (failed) await deps.outbox.add(trx, [outcomeOf(failed, "notification.failed")]);
}
