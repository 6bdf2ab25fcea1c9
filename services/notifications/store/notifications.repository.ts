import type { Attempt, NotificationView } from "../../../contracts/notifications.ts";
import { newId } from "../../../lib/ids.ts";
import { affected, type Db, row, rows } from "../../../lib/sql/database.ts";

export interface NotificationRow extends NotificationView {
  userId?: string;
  passes: number;
}

const BODY_MAX = 2_000;
export const NOTIFICATION_COLUMNS = [
  ...["id", "user_id", "order_id", "event", "title", "body"],
  ...["state", "attempts", "passes", "created_at"],
] as const;
const COLUMNS = NOTIFICATION_COLUMNS.join(", ");

export interface NewNotification {
  messageId: string;
  /** The user's id, or `address`. */
  addressee: string;
  userId?: string | undefined;
  orderId?: string | undefined;
  event: string;
  title: string;
  body: string;
}

/** Stores it, or finds the one that an earlier try of the same message stored. */
export async function storeNotification(db: Db, notification: NewNotification): Promise<NotificationRow> {
  const stored = await row<NotificationRow>(
    db,
    `WITH added AS (
       INSERT INTO notifications (id, message_id, addressee, user_id, order_id, event, title, body)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (message_id, addressee) DO NOTHING RETURNING ${COLUMNS})
     SELECT ${COLUMNS} FROM added
     UNION ALL SELECT ${COLUMNS} FROM notifications WHERE message_id = ? AND addressee = ? LIMIT 1`,
    [
      newId(),
      notification.messageId,
      notification.addressee,
      notification.userId ?? null,
      notification.orderId ?? null,
      notification.event,
      notification.title,
      notification.body,
      notification.messageId,
      notification.addressee,
    ],
  );
  if (!stored) throw new Error("a notification was neither stored nor found");
  return stored;
}

/**
 * Adds what a pass over all ways found out. One that failed may be tried again by an operator.
 * @param said the words that came through, where they are not those that were stored; the history keeps their beginning
 * @returns whether it was still unsettled: only then is it news
 */
export async function savePass(
  db: Db,
  id: string,
  state: NotificationRow["state"],
  attempts: readonly Attempt[],
  deliveredText?: { title: string; body: string },
): Promise<boolean> {
  const count = await affected(
    db,
    `UPDATE notifications
     SET state = ?, attempts = attempts || ?::jsonb, passes = passes + 1, updated_at = now(),
         title = coalesce(?, title), body = coalesce(left(?, ${BODY_MAX}), body)
     WHERE id = ? AND state IN ('pending', 'held', 'failed')`,
    [state, JSON.stringify(attempts), deliveredText?.title ?? null, deliveredText?.body ?? null, id],
  );
  return count === 1;
}

/** Gives up those of a message that are still pending. @returns their ids */
export async function failPending(db: Db, messageId: string): Promise<NotificationRow[]> {
  return rows<NotificationRow>(
    db,
    `UPDATE notifications SET state = 'failed', updated_at = now()
     WHERE message_id = ? AND state = 'pending' RETURNING ${COLUMNS}`,
    [messageId],
  );
}

/** Gives up one that is not settled, also while it is held. @returns undefined when it was */
export async function failUnsettled(db: Db, id: string): Promise<NotificationRow | undefined> {
  return row<NotificationRow>(
    db,
    `UPDATE notifications SET state = 'failed', passes = passes + 1, updated_at = now()
     WHERE id = ? AND state IN ('pending', 'held') RETURNING ${COLUMNS}`,
    [id],
  );
}

export async function getNotification(db: Db, id: string): Promise<NotificationRow | undefined> {
  return row<NotificationRow>(db, `SELECT ${COLUMNS} FROM notifications WHERE id = ?`, [id]);
}

export async function getNotifications(db: Db, ids: readonly string[]): Promise<NotificationRow[]> {
  return rows<NotificationRow>(db, `SELECT ${COLUMNS} FROM notifications WHERE id = ANY(?::uuid[])`, [ids]);
}

/** The settled ones after `id`, oldest first, for making the history anew. */
export async function settledAfter(db: Db, id: string, limit: number): Promise<NotificationRow[]> {
  return rows<NotificationRow>(
    db,
    `SELECT ${COLUMNS} FROM notifications WHERE id > ? AND state <> 'pending' ORDER BY id LIMIT ?`,
    [id, limit],
  );
}

/**
 * Notes whose order it is and at which version people are told of it.
 * @returns the newest version that anybody was told of, this one included
 */
export async function recordOrder(
  db: Db,
  orderId: string,
  version: number,
  customerId: string,
): Promise<number> {
  const newest = await row<{ version: number }>(
    db,
    `INSERT INTO known_orders AS known (order_id, version, customer_id) VALUES (?, ?, ?)
     ON CONFLICT (order_id) DO UPDATE
       SET version = greatest(known.version, excluded.version), updated_at = now()
     RETURNING version`,
    [orderId, version, customerId],
  );
  return newest?.version ?? version;
}

/** Whose order it is, once anybody was told of it. */
export async function customerOf(db: Db, orderId: string): Promise<string | undefined> {
  const known = await row<{ customerId: string }>(
    db,
    "SELECT customer_id FROM known_orders WHERE order_id = ?",
    [orderId],
  );
  return known?.customerId;
}
