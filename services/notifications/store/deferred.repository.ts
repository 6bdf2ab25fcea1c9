import { affected, type Db, row, rows } from "../../../lib/sql/database.ts";
import type { NotificationMail } from "../domain/templates/render.ts";
import { NOTIFICATION_COLUMNS, type NotificationRow } from "./notifications.repository.ts";

const COUNT_MAX = 100_000;

export interface Deferral {
  notificationId: string;
  userId: string;
  /** RFC 3339. */
  deferredUntil: string;
  orderVersion?: number | undefined;
  mail?: NotificationMail | undefined;
}

/** Defers a notification, also one that was deferred before. */
export async function defer(trx: Db, deferral: Deferral): Promise<void> {
  const { notificationId, userId, deferredUntil, orderVersion, mail } = deferral;
  await affected(
    trx,
    `INSERT INTO held_notifications (notification_id, user_id, held_until, order_version, mail)
     VALUES (:notificationId, :userId, :deferredUntil, :orderVersion, :mail::jsonb)
     ON CONFLICT (notification_id) DO UPDATE
       SET held_until = excluded.held_until, queued = false, updated_at = now()`,
    {
      ...{ notificationId, userId, deferredUntil },
      orderVersion: orderVersion ?? null,
      mail: mail ? JSON.stringify(mail) : null,
    },
  );
}

/** Marks the due ones as queued and skips rows that another replica has locked. @returns their ids */
export async function markDueQueued(trx: Db, now: string, limit: number): Promise<string[]> {
  const due = await rows<{ notificationId: string }>(
    trx,
    `UPDATE held_notifications SET queued = true, updated_at = now()
     WHERE notification_id = ANY (ARRAY(
       SELECT notification_id FROM held_notifications WHERE NOT queued AND held_until <= ?
       ORDER BY held_until LIMIT ? FOR UPDATE SKIP LOCKED))
     RETURNING notification_id`,
    [now, limit],
  );
  return due.map(({ notificationId }) => notificationId);
}

/** Changes the time until which all notifications of this user are deferred. */
export async function deferAllUntil(db: Db, userId: string, deferredUntil: string): Promise<void> {
  await affected(
    db,
    `UPDATE held_notifications SET held_until = ?, updated_at = now() WHERE notification_id = ANY (ARRAY(
       SELECT notification_id FROM held_notifications WHERE user_id = ? AND NOT queued
       ORDER BY notification_id FOR UPDATE))`,
    [deferredUntil, userId],
  );
}

export interface DeferredRow extends NotificationRow {
  userId: string;
  orderVersion?: number;
  /** The newest version of its order that people were notified of. */
  newestVersion?: number;
  mail?: NotificationMail;
}

/** A notification that is deferred or was enqueued after that; undefined when it is settled. */
export async function deferredNotification(db: Db, id: string): Promise<DeferredRow | undefined> {
  return row<DeferredRow>(
    db,
    `SELECT ${NOTIFICATION_COLUMNS.map((column) => `n.${column}`).join(", ")},
       h.order_version, h.mail, k.version AS newest_version
     FROM held_notifications h JOIN notifications n ON n.id = h.notification_id
       LEFT JOIN known_orders k ON k.order_id = n.order_id
     WHERE h.notification_id = ?`,
    [id],
  );
}

/** Removes the deferral of a settled notification. */
export async function deleteDeferral(trx: Db, id: string): Promise<void> {
  await affected(trx, "DELETE FROM held_notifications WHERE notification_id = ?", [id]);
}

/** The number of deferred notifications, counted up to 100,000. */
export async function countDeferred(db: Db): Promise<number> {
  const counted = await row<{ count: number }>(
    db,
    `SELECT count(*) AS count FROM (SELECT 1 FROM held_notifications WHERE NOT queued LIMIT ${COUNT_MAX}) AS held`,
  );
  return counted?.count ?? 0;
}
