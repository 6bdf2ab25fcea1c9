import { alert } from "../../../contracts/alerts.ts";
import { type Message, message } from "../../../contracts/messages.ts";
import { isoTime } from "../../../lib/clock.ts";
import { inBatches } from "../../../lib/messaging/runner.ts";
import type { Transaction } from "../../../lib/sql/database.ts";
import type { Lease } from "../../../mixins/consumer/handlers.ts";
import { halfWayMs } from "../domain/reminders.ts";
import { endReminder, openReminder, takeDueReminders } from "../store/reminders.repository.ts";
import { reminderNotifications } from "./outgoing-notifications.ts";
import { type SendingDeps, sendNotifications } from "./sending.ts";

const BATCH = 100;

type ReminderDue = Message<"notification.reminder_due">;

/** Enqueues a `notification.reminder_due` message for each reminder that is due, in batches until none is left. */
export async function queueReminders(deps: SendingDeps, stopping?: AbortSignal): Promise<void> {
  const work = () =>
    deps.postgres.transact(async (trx) => {
      const due = await takeDueReminders(trx, isoTime(deps.clock.now()), BATCH);
      const messages = due.map((one) => message("notification.reminder_due", one.orderId, one));
      if (messages.length > 0) await deps.outbox.add(trx, messages);
      return due.length;
    });
  await inBatches(BATCH, work, stopping);
}

/**
 * Makes one step for a paid order that is not accepted: reminds the staff of its partner, or alerts the operators.
 * Does nothing when the order has changed since.
 * @throws Error when a notification failed and a retry may succeed
 */
export async function remind(
  deps: SendingDeps,
  { id, data }: ReminderDue,
  lease: Lease,
): Promise<((trx: Transaction) => Promise<void>) | undefined> {
  const reminder = await openReminder(deps.postgres.db, data);
  if (!reminder) return undefined;
  if (data.step === "operators") return (trx) => alertOperators(deps, trx, data, reminder);
  const nowMs = deps.clock.now();
  const outgoing = await reminderNotifications(
    deps.postgres.db,
    await deps.templateOverrides.current(),
    { messageId: id, orderId: data.orderId, reminder },
    nowMs,
  );
  const settle = await sendNotifications(deps, outgoing, lease);
  return async (trx) => {
    await settle(trx);
    await endStaffStep(deps, trx, data, reminder.acceptUntil);
  };
}

/** After the last try to remind the staff, the operators are still alerted. */
export async function reminderFailed(
  deps: SendingDeps,
  trx: Transaction,
  { data }: ReminderDue,
): Promise<void> {
  if (data.step !== "staff") return;
  const reminder = await openReminder(trx, data);
  if (reminder) await endStaffStep(deps, trx, data, reminder.acceptUntil);
}

async function endStaffStep(
  deps: SendingDeps,
  trx: Transaction,
  due: ReminderDue["data"],
  acceptUntil: string,
): Promise<void> {
  const at = isoTime(halfWayMs(deps.clock.now(), Date.parse(acceptUntil)));
  await endReminder(trx, due, { at, step: "operators" });
}

async function alertOperators(
  deps: SendingDeps,
  trx: Transaction,
  due: ReminderDue["data"],
  {
    partnerTitle,
    partnerId,
    number,
    acceptUntil,
  }: { number?: string | undefined } & Record<"partnerTitle" | "partnerId" | "acceptUntil", string>,
): Promise<void> {
  if (!(await endReminder(trx, due))) return;
  const order = number ? `Order ${number}` : "An order";
  const detail = `${order} of ${partnerTitle} (${partnerId}) was paid and not accepted; it is cancelled at about ${acceptUntil}.`;
  const { orderId: subject, version } = due;
  await deps.outbox.add(trx, [alert("order.not_accepted", detail, { subject, version })]);
}
