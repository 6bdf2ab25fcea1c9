import { message, type NewMessage } from "../../../contracts/messages.ts";
import type { Attempt } from "../../../contracts/notifications.ts";
import { isoTime } from "../../../lib/clock.ts";
import { DecryptionError, type EncryptionKeys } from "../../../lib/encryption.ts";
import { lazyAsync } from "../../../lib/lazy-async.ts";
import type { Logger } from "../../../lib/logger.ts";
import { mapConcurrent } from "../../../lib/map-concurrent.ts";
import type { Transaction } from "../../../lib/sql/database.ts";
import type { Lease } from "../../../mixins/consumer/handlers.ts";
import type { Documents } from "../../../mixins/documents/documents.mixin.ts";
import type { Outbox } from "../../../mixins/outbox/outbox.mixin.ts";
import type { Postgres } from "../../../mixins/postgres/postgres.mixin.ts";
import type { Mail } from "../../../providers/email/index.ts";
import type { Sender } from "../dependencies.ts";
import { deferredUntil } from "../domain/quiet-hours.ts";
import type { MailDesign } from "../domain/templates/mail.ts";
import { type NotificationMail, renderTextMail } from "../domain/templates/render.ts";
import type { NotificationDocument } from "../projections/history.ts";
import { type Deferral, defer, deleteDeferral } from "../store/deferred.repository.ts";
import {
  type Channels,
  channelsOf,
  lockDevicesOf,
  recordTokenFailure,
  removeToken,
} from "../store/devices.repository.ts";
import {
  failPending,
  type NewNotification,
  type NotificationRow,
  savePasses,
  storeNotifications,
} from "../store/notifications.repository.ts";
import type { Recipient } from "../store/recipients.repository.ts";
import { openSender } from "../use-cases/agent-settings.ts";
import type { TemplateOverrides } from "../use-cases/template-overrides.ts";
import { type DeliveryDeps, type DeliveryResult, deliver, type TokenFailure } from "./delivery.ts";

/**
 * How many recipients of one message are served at one time, so that a partner with many staff does not use up the
 * places of a provider or the connections of the mailer.
 */
const RECIPIENTS_AT_ONCE = 8;

export interface SendingDeps extends DeliveryDeps {
  postgres: Postgres;
  outbox: Outbox;
  documents: Documents<NotificationDocument>;
  templateOverrides: Pick<TemplateOverrides, "current">;
  keys: EncryptionKeys;
  mailDesign: MailDesign;
}

/** One notification to one person, before it is stored. */
export interface OutgoingNotification {
  notification: NewNotification;
  /** Absent while no address is known. */
  recipient?: Pick<Recipient, "email" | "firstName">;
  /** The text of the mail without greeting and footer, and what the mail is about. */
  mailText?: NotificationMail;
  /** The whole mail of an answer to the user's own action, whose text is secret. */
  mail?: Omit<Mail, "messageId">;
  mailOnly?: true;
  /** By push and by mail. Without it, a mail is sent if no device accepts the push. It is never deferred. */
  bothChannels?: true;
  /**
   * It can wait for the end of the reader's quiet hours. `orderVersion`: it is dropped when people were notified about a
   * newer version of the order.
   */
  deferrable?: { orderVersion?: number | undefined };
  /** It was deferred before. */
  wasDeferred?: true;
}

interface Sent {
  row: NotificationRow;
  outgoing: OutgoingNotification;
  result: DeliveryResult | Deferred;
}

/** No channel was tried, because the reader has quiet hours until this moment. */
interface Deferred extends Pick<DeliveryResult, "attempts" | "tokenFailures"> {
  state: "held";
  retryable: false;
  untilMs: number;
}

/**
 * Stores the notifications and delivers those that are not delivered yet.
 * @returns the work to commit together with the message
 * @throws Error when some were not delivered and a retry may succeed; the results of the others are committed
 */
export async function sendNotifications(
  deps: SendingDeps,
  outgoing: readonly OutgoingNotification[],
  { attempt, logger }: Pick<Lease, "attempt" | "logger">,
): Promise<(trx: Transaction) => Promise<void>> {
  return sendStored(deps, await store(deps, outgoing, attempt === 1), logger);
}

/** The same for notifications that are stored already. */
export async function sendStored(
  deps: SendingDeps,
  due: readonly { row: NotificationRow; outgoing: OutgoingNotification }[],
  logger: Pick<Logger, "warn">,
): Promise<(trx: Transaction) => Promise<void>> {
  const sender = lazyAsync(() => senderOf(deps, logger));
  const userIds = due.flatMap(({ outgoing: { mailOnly, notification } }) =>
    mailOnly || !notification.userId ? [] : [notification.userId],
  );
  const channels = userIds.length > 0 ? await channelsOf(deps.postgres.db, userIds) : new Map();
  const sent = await mapConcurrent(
    RECIPIENTS_AT_ONCE,
    due,
    async ({ row, outgoing }): Promise<Sent> => ({
      row,
      outgoing,
      result: await deliverOne(deps, row, outgoing, channels.get(outgoing.notification.userId), sender),
    }),
  );
  const retryable = sent.filter(({ result }) => result.state === "failed" && result.retryable);
  if (retryable.length === 0) return (trx) => settle(deps, trx, sent);
  await deps.postgres.transact((trx) => settle(deps, trx, sent));
  throw new Error(`${retryable.length} of ${due.length} could not be delivered: ${reasonOf(retryable)}`);
}

/** Marks the pending notifications of a message as failed, after its last try. */
export async function failPendingOfMessage(
  deps: SendingDeps,
  trx: Transaction,
  messageId: string,
): Promise<void> {
  const failed = await failPending(trx, messageId);
  await deps.outbox.add(
    trx,
    failed.map((row) => outcomeOf(row, "notification.failed")),
  );
}

/** @param includeFailed whether failed ones are due again, because an operator replays the message */
async function store(deps: SendingDeps, all: readonly OutgoingNotification[], includeFailed: boolean) {
  const stored = await storeNotifications(
    deps.postgres.db,
    all.map(({ notification }) => notification),
  );
  return all
    .map((outgoing, index) => ({ row: stored[index] as NotificationRow, outgoing }))
    .filter(({ row }) => row.state === "pending" || (includeFailed && row.state === "failed"));
}

async function senderOf(deps: SendingDeps, logger: Pick<Logger, "warn">): Promise<Sender | undefined> {
  try {
    return await openSender(deps.postgres.db, deps.keys);
  } catch (error) {
    if (!(error instanceof DecryptionError)) throw error;
    logger.warn("the settings of the sending agent were encrypted with a lost secret: enter them again");
    return undefined;
  }
}

async function deliverOne(
  deps: SendingDeps,
  row: NotificationRow,
  outgoing: OutgoingNotification,
  channels: Channels | undefined,
  sender: () => Promise<Sender | undefined>,
): Promise<Sent["result"]> {
  const { bothChannels, deferrable } = outgoing;
  const { preferences, devices } = channels ?? { preferences: "mailOnly" as const, devices: [] };
  const nowMs = deps.clock.now();
  const untilMs = deferrable && preferences !== "mailOnly" ? deferredUntil(preferences, nowMs) : undefined;
  if (untilMs !== undefined) {
    const attempts = [skippedAttempt(nowMs, `quiet hours until ${isoTime(untilMs)}`)];
    return { state: "held", retryable: false, attempts, tokenFailures: [], untilMs };
  }
  return deliver(
    {
      notificationId: row.id,
      title: row.title,
      body: row.body,
      data: { event: row.event, notificationId: row.id, ...(row.orderId && { orderId: row.orderId }) },
      devices,
      preferences,
      bothChannels,
      sender: devices.length > 0 ? await sender() : undefined,
      mail: () => {
        const mail = mailOf(outgoing, deps.mailDesign);
        return mail && { ...mail, messageId: `${row.id}@waybill` };
      },
    },
    deps,
  );
}

/** Rendered when the mail is sent: most notifications are pushes, and no other place may contain the PIN. */
function mailOf(
  { mail, mailText, recipient }: OutgoingNotification,
  design: MailDesign,
): Omit<Mail, "messageId"> | undefined {
  if (mail) return mail;
  if (!mailText || !recipient) return undefined;
  return { to: recipient.email, ...renderTextMail(mailText, recipient.firstName, design) };
}

/**
 * Saves the results. Locks the notifications first, then their deferrals, then the devices of failed tokens: the order of
 * all transactions.
 */
async function settle(deps: SendingDeps, trx: Transaction, sent: readonly Sent[]): Promise<void> {
  const passes = sent.map(({ row, outgoing, result }) => ({
    id: row.id,
    state: result.state === "failed" && result.retryable ? ("pending" as const) : result.state,
    attempts: result.attempts,
    // The row has the text of the push. When the mail was delivered instead, the history shows the mail's text.
    deliveredText: "byMailOnly" in result && result.byMailOnly ? outgoing.mailText : undefined,
  }));
  const saved = await savePasses(trx, passes);
  const failures: TokenFailure[] = [];
  const outcomes: NewMessage[] = [];
  for (const [index, { row, outgoing, result }] of sent.entries()) {
    const state = passes[index]?.state;
    if (outgoing.wasDeferred && (state === "sent" || state === "muted" || state === "failed"))
      await deleteDeferral(trx, row.id);
    if (!saved.has(row.id)) continue;
    if (result.state === "held") await defer(trx, deferralOf(row, outgoing, result));
    failures.push(...result.tokenFailures);
    if (state && state !== "pending") outcomes.push(outcomeOf(row, `notification.${state}`));
  }
  if (outcomes.length > 0) await deps.outbox.add(trx, outcomes);
  await lockDevicesOf(trx, failures);
  for (const failure of failures) {
    await (failure.unregistered ? removeToken(trx, failure) : recordTokenFailure(trx, failure));
  }
}

function deferralOf(
  { id }: NotificationRow,
  { notification, deferrable, mailText }: OutgoingNotification,
  { untilMs }: Deferred,
): Deferral {
  return {
    notificationId: id,
    userId: notification.userId as string,
    deferredUntil: isoTime(untilMs),
    orderVersion: deferrable?.orderVersion,
    mail: mailText,
  };
}

/** Ends a deferred notification as dropped: a newer one about the same order exists. */
export async function dropNotification(
  deps: SendingDeps,
  trx: Transaction,
  row: NotificationRow,
): Promise<void> {
  const attempts = [skippedAttempt(deps.clock.now(), "newer news of the order came in the meantime")];
  const saved = await savePasses(trx, [{ id: row.id, state: "dropped", attempts }]);
  await deleteDeferral(trx, row.id);
  if (!saved.has(row.id)) return;
  await deps.outbox.add(trx, [outcomeOf(row, "notification.dropped")]);
}

function skippedAttempt(atMs: number, detail: string): Attempt {
  return { channel: "push", provider: "none", outcome: "skipped", detail, at: isoTime(atMs), durationMs: 0 };
}

export function outcomeOf(
  { id, userId, event, passes }: NotificationRow,
  type: `notification.${"sent" | "failed" | "muted" | "held" | "dropped"}`,
) {
  return message(type, id, { version: passes + 1, notificationId: id, event, ...(userId && { userId }) });
}

function reasonOf(retryable: readonly Sent[]): string {
  const last = retryable[0]?.result.attempts.at(-1);
  return last ? `${last.provider} ${last.outcome}: ${last.detail ?? ""}` : "no reason known";
}
