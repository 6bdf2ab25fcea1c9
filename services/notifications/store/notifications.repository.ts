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

/** Stores a notification, or finds the one that an earlier attempt of the same message stored. */
export async function storeNotification(db: Db, notification: NewNotification): Promise<NotificationRow> {
  const stored = await row<NotificationRow>(
    db,
    `WITH added AS (
       INSERT INTO notifications (id, message_id, addressee, user_id, order_id, event, title, body)
       VALUES (:id, :messageId, :addressee, :userId, :orderId, :event, :title, :body)
       ON CONFLICT (message_id, addressee) DO NOTHING RETURNING ${COLUMNS})
     SELECT ${COLUMNS} FROM added
     UNION ALL SELECT ${COLUMNS} FROM notifications WHERE message_id = :messageId AND addressee = :addressee LIMIT 1`,
    {
      ...notification,
      id: newId(),
      userId: notification.userId ?? null,
      orderId: notification.orderId ?? null,
    },
  );
  if (!stored) throw new Error("a notification was neither stored nor found");
  return stored;
}

/**
 * Saves the result of a delivery round. An operator can replay a failed notification.
 * @param deliveredText the delivered text if it differs from the stored one; the body is cut to the maximum length
 * @returns whether the notification was unsettled before
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
     SET state = :state, attempts = attempts || CAST(:attempts AS jsonb), passes = passes + 1, updated_at = now(),
         title = coalesce(:title, title), body = coalesce(left(:body, ${BODY_MAX}), body)
     WHERE id = :id AND state IN ('pending', 'held', 'failed')`,
    {
      ...{ id, state, attempts: JSON.stringify(attempts) },
      ...{ title: deliveredText?.title ?? null, body: deliveredText?.body ?? null },
    },
  );
  return count === 1;
}

/** Marks the pending notifications of a message as failed. @returns them */
export async function failPending(db: Db, messageId: string): Promise<NotificationRow[]> {
  return rows<NotificationRow>(
    db,
    `UPDATE notifications SET state = 'failed', updated_at = now()
     WHERE message_id = ? AND state = 'pending' RETURNING ${COLUMNS}`,
    [messageId],
  );
}

/** Marks a pending or deferred notification as failed. @returns undefined when it was settled */
export async function failUnsettled(db: Db, id: string): Promise<NotificationRow | undefined> {
  return row<NotificationRow>(
    db,
    `UPDATE notifications SET state = 'failed', passes = passes + 1, updated_at = now()
     WHERE id = ? AND state IN ('pending', 'held') RETURNING ${COLUMNS}`,
    [id],
  );
}

export async function getNotifications(db: Db, ids: readonly string[]): Promise<NotificationRow[]> {
  return rows<NotificationRow>(db, `SELECT ${COLUMNS} FROM notifications WHERE id = ANY(?::uuid[])`, [ids]);
}

/** Notifications after `id` that are not pending, oldest first, for the rebuild of the history. */
export async function settledAfter(db: Db, id: string, limit: number): Promise<NotificationRow[]> {
  return rows<NotificationRow>(
    db,
    `SELECT ${COLUMNS} FROM notifications WHERE id > ? AND state <> 'pending' ORDER BY id LIMIT ?`,
    [id, limit],
  );
}

/**
 * Records the customer of an order and the version of the current message.
 * @returns the newest recorded version, including this one
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

/** The customer of an order; undefined before its first message. */
export async function customerOf(db: Db, orderId: string): Promise<string | undefined> {
  const known = await row<{ customerId: string }>(
    db,
    "SELECT customer_id FROM known_orders WHERE order_id = ?",
    [orderId],
  );
  return known?.customerId;
}
