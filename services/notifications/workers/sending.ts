import type { Knex } from "knex";
import { message } from "../../../contracts/messages.ts";
import type { Attempt } from "../../../contracts/notifications.ts";
import { isoTime } from "../../../lib/clock.ts";
import type { EncryptionKeys } from "../../../lib/encryption.ts";
import type { Db } from "../../../lib/sql/database.ts";
import type { Lease } from "../../../mixins/consumer/handlers.ts";
import type { Documents } from "../../../mixins/documents/documents.mixin.ts";
import type { Outbox } from "../../../mixins/outbox/outbox.mixin.ts";
import type { Postgres } from "../../../mixins/postgres/postgres.mixin.ts";
import type { Mail } from "../../../providers/email/index.ts";
import type { Sender } from "../dependencies.ts";
import { deferredUntil } from "../domain/quiet-hours.ts";
import type { Written } from "../domain/templates/render.ts";
import type { NotificationDocument } from "../projections/history.ts";
import { openSender } from "../store/agent-settings.ts";
import { type Deferral, defer, release } from "../store/deferred.repository.ts";
import { devicesToPush, noteTokenFailure, removeToken } from "../store/devices.repository.ts";
import {
  failPending,
  type NewNotification,
  type NotificationRow,
  savePass,
  storeNotification,
} from "../store/notifications.repository.ts";
import { preferencesOf } from "../store/recipients.repository.ts";
import type { TemplateOverrides } from "../store/template-overrides.ts";
import { type Delivered, type DeliveryDeps, deliver } from "./delivery.ts";

export interface SendingDeps extends DeliveryDeps {
  postgres: Postgres;
  outbox: Outbox;
  documents: Documents<NotificationDocument>;
  texts: Pick<TemplateOverrides, "current">;
  keys: EncryptionKeys;
  warn(text: string): void;
}

/** One notification to one person, as a message asks for it. */
export interface OutgoingNotification {
  news: NewNotification;
  /** Absent while no address is known. */
  mail?: Omit<Mail, "messageId">;
  /** What the mail says besides greeting and footer, where that is no secret. */
  mailText?: Written;
  mailOnly?: true;
  /** It can wait for the end of somebody's quiet hours; news of an order only until there are newer ones. */
  waits?: { orderVersion?: number | undefined };
  /** It has waited. */
  held?: true;
}

interface Sent {
  row: NotificationRow;
  letter: OutgoingNotification;
  result: Delivered | Held;
}

/** Nothing was tried: its reader is not to be disturbed before this moment. */
interface Held extends Pick<Delivered, "attempts" | "troubles"> {
  state: "held";
  retryable: false;
  untilMs: number;
}

/**
 * Stores the letters, delivers those that are not delivered yet, and returns what to commit with the message.
 * @throws Error when some could not be delivered now but perhaps later; what the others came to is committed
 */
export async function sendNotifications(
  deps: SendingDeps,
  letters: readonly OutgoingNotification[],
  lease: Pick<Lease, "attempt">,
): Promise<(trx: Knex.Transaction) => Promise<void>> {
  return sendStored(deps, await store(deps, letters, lease.attempt === 1));
}

/** The same for what was stored before. */
export async function sendStored(
  deps: SendingDeps,
  due: readonly { row: NotificationRow; letter: OutgoingNotification }[],
): Promise<(trx: Knex.Transaction) => Promise<void>> {
  const sender = due.some(({ letter }) => !letter.mailOnly) ? await senderOf(deps) : undefined;
  const sent = await Promise.all(
    due.map(
      async ({ row, letter }): Promise<Sent> => ({
        row,
        letter,
        result: await deliverLetter(deps, row, letter, sender),
      }),
    ),
  );
  const open = sent.filter(({ result }) => result.state === "failed" && result.retryable);
  if (open.length === 0) return (trx) => settle(deps, trx, sent);
  await deps.postgres.transact((trx) => settle(deps, trx, sent));
  throw new Error(`${open.length} of ${due.length} could not be delivered: ${reasonOf(open)}`);
}

/** Gives up what is still pending of a message whose last try has failed. */
export async function giveUp(deps: SendingDeps, trx: Knex.Transaction, messageId: string): Promise<void> {
  const failed = await failPending(trx, messageId);
  await deps.outbox.add(
    trx,
    failed.map((row) => outcomeOf(row, "notification.failed")),
  );
}

/** @param anew whether those that were given up are due again: the operator replays the message */
async function store(deps: SendingDeps, letters: readonly OutgoingNotification[], anew: boolean) {
  const all = async (db: Db) => {
    const stored: { row: NotificationRow; letter: OutgoingNotification }[] = [];
    for (const letter of letters) stored.push({ row: await storeNotification(db, letter.news), letter });
    return stored;
  };
  // One is one statement, which needs no transaction around it.
  const stored = letters.length > 1 ? await deps.postgres.transact(all) : await all(deps.postgres.db);
  return stored.filter(({ row }) => row.state === "pending" || (anew && row.state === "failed"));
}

async function senderOf(deps: SendingDeps): Promise<Sender | undefined> {
  try {
    return await openSender(deps.postgres.db, deps.keys);
  } catch (error) {
    if (!(error instanceof Error) || error.name !== "SealError") throw error;
    deps.warn("the sending agent's settings were sealed by a secret that is gone: enter them again");
    return undefined;
  }
}

async function deliverLetter(
  deps: SendingDeps,
  row: NotificationRow,
  { mail, mailOnly, news, waits }: OutgoingNotification,
  sender: Sender | undefined,
): Promise<Sent["result"]> {
  const { db } = deps.postgres;
  const { userId } = news;
  const preferences = mailOnly || !userId ? "mailOnly" : await preferencesOf(db, userId);
  const nowMs = deps.clock.now();
  const untilMs = waits && preferences !== "mailOnly" ? deferredUntil(preferences, nowMs) : undefined;
  if (untilMs !== undefined) {
    const attempts = [untried(nowMs, `quiet hours until ${isoTime(untilMs)}`)];
    return { state: "held", retryable: false, attempts, troubles: [], untilMs };
  }
  return deliver(
    {
      notificationId: row.id,
      title: row.title,
      body: row.body,
      data: { event: row.event, notificationId: row.id, ...(row.orderId && { orderId: row.orderId }) },
      devices: userId && !mailOnly ? await devicesToPush(db, userId) : [],
      preferences,
      sender,
      mail: mail && { ...mail, messageId: `${row.id}@waybill` },
    },
    deps,
  );
}

async function settle(deps: SendingDeps, trx: Knex.Transaction, sent: readonly Sent[]): Promise<void> {
  for (const { row, letter, result } of sent) {
    const { state, retryable, attempts, troubles } = result;
    const next = state === "failed" && retryable ? "pending" : state;
    // The history shows the words that came through: the row has those of the push.
    const said = attempts.at(-1)?.channel === "email" && state === "sent" ? letter.mailText : undefined;
    if (letter.held && (next === "sent" || next === "muted" || next === "failed")) await release(trx, row.id);
    if (!(await savePass(trx, row.id, next, attempts, said))) continue;
    if (result.state === "held") await defer(trx, holdingOf(row, letter, result));
    for (const trouble of troubles) {
      await (trouble.unregistered ? removeToken(trx, trouble) : noteTokenFailure(trx, trouble));
    }
    if (next !== "pending") await deps.outbox.add(trx, [outcomeOf(row, `notification.${next}`)]);
  }
}

function holdingOf(
  { id }: NotificationRow,
  { news, waits, mailText }: OutgoingNotification,
  { untilMs }: Held,
): Deferral {
  return {
    notificationId: id,
    userId: news.userId as string,
    heldUntil: isoTime(untilMs),
    orderVersion: waits?.orderVersion,
    mail: mailText,
  };
}

/** Has one that has waited end in the history, since nobody needs to be told of it any more. */
export async function dropNotification(
  deps: SendingDeps,
  trx: Knex.Transaction,
  row: NotificationRow,
): Promise<void> {
  await release(trx, row.id);
  const attempts = [untried(deps.clock.now(), "newer news of the order came in the meantime")];
  if (!(await savePass(trx, row.id, "dropped", attempts))) return;
  await deps.outbox.add(trx, [outcomeOf(row, "notification.dropped")]);
}

function untried(atMs: number, detail: string): Attempt {
  return { channel: "push", provider: "none", outcome: "skipped", detail, at: isoTime(atMs), durationMs: 0 };
}

export function outcomeOf(
  { id, userId, event, passes }: NotificationRow,
  type: `notification.${"sent" | "failed" | "muted" | "held" | "dropped"}`,
) {
  return message(type, id, { version: passes + 1, notificationId: id, event, ...(userId && { userId }) });
}

function reasonOf(open: readonly Sent[]): string {
  const last = open[0]?.result.attempts.at(-1);
  return last ? `${last.provider} ${last.outcome}: ${last.detail ?? ""}` : "no reason known";
}
