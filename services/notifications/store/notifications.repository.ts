import type { Attempt, NotificationView } from "../../../contracts/notifications.ts";
import { newId } from "../../../lib/ids.ts";
import { type Db, row, rows } from "../../../lib/sql/database.ts";

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

/**
 * Stores the notifications of a message, or finds those that an earlier attempt stored. One statement for all.
 * @returns them in the order of the argument
 */
export async function storeNotifications(
  db: Db,
  all: readonly NewNotification[],
): Promise<NotificationRow[]> {
  if (all.length === 0) return [];
  const stored = await rows<NotificationRow & { addressee: string }>(
    db,
    `WITH new AS (
       SELECT * FROM unnest(:ids::uuid[], :messageIds::uuid[], :addressees::text[], :userIds::uuid[],
         :orderIds::uuid[], :events::text[], :titles::text[], :bodies::text[])
         AS new(id, message_id, addressee, user_id, order_id, event, title, body)),
     added AS (
       INSERT INTO notifications (id, message_id, addressee, user_id, order_id, event, title, body)
       SELECT id, message_id, addressee, user_id, order_id, event, title, body FROM new
       ON CONFLICT (message_id, addressee) DO NOTHING RETURNING ${COLUMNS}, addressee)
     SELECT ${COLUMNS}, addressee FROM added
     UNION ALL
     SELECT ${NOTIFICATION_COLUMNS.map((column) => `n.${column}`).join(", ")}, n.addressee
     FROM new JOIN notifications n ON n.message_id = new.message_id AND n.addressee = new.addressee`,
    {
      ids: all.map(() => newId()),
      messageIds: all.map(({ messageId }) => messageId),
      addressees: all.map(({ addressee }) => addressee),
      userIds: all.map(({ userId }) => userId ?? null),
      orderIds: all.map(({ orderId }) => orderId ?? null),
      events: all.map(({ event }) => event),
      titles: all.map(({ title }) => title),
      bodies: all.map(({ body }) => body),
    },
  );
  const byAddressee = new Map(stored.map(({ addressee, ...row }) => [addressee, row]));
  return all.map(({ addressee }) => {
    const row = byAddressee.get(addressee);
    if (!row) throw new Error("a notification was neither stored nor found");
    return row;
  });
}

/** The result of a delivery round of one notification. */
export interface Pass {
  id: string;
  state: NotificationRow["state"];
  attempts: readonly Attempt[];
  /** The delivered text if it differs from the stored one; the body is cut to the maximum length. */
  deliveredText?: { title: string; body: string } | undefined;
}

/**
 * Saves the results of a delivery round. An operator can replay a failed notification. One statement for all, which locks
 * the rows in the order of their ids, as every other transaction does.
 * @returns the ids of those that were unsettled before
 */
export async function savePasses(db: Db, passes: readonly Pass[]): Promise<Set<string>> {
  const saved = await rows<{ id: string }>(
    db,
    `WITH passes AS (
       SELECT * FROM unnest(:ids::uuid[], :states::text[], :attempts::jsonb[], :titles::text[], :bodies::text[])
         AS passes(id, state, attempts, title, body)),
     locked AS MATERIALIZED (
       SELECT id FROM notifications WHERE id = ANY (:ids::uuid[]) AND state IN ('pending', 'held', 'failed')
       ORDER BY id FOR UPDATE)
     UPDATE notifications n
     SET state = passes.state, attempts = n.attempts || passes.attempts, passes = n.passes + 1, updated_at = now(),
         title = coalesce(passes.title, n.title), body = coalesce(left(passes.body, ${BODY_MAX}), n.body)
     FROM passes JOIN locked ON locked.id = passes.id
     WHERE n.id = passes.id
     RETURNING n.id`,
    {
      ids: passes.map(({ id }) => id),
      states: passes.map(({ state }) => state),
      attempts: passes.map(({ attempts }) => JSON.stringify(attempts)),
      titles: passes.map(({ deliveredText }) => deliveredText?.title ?? null),
      bodies: passes.map(({ deliveredText }) => deliveredText?.body ?? null),
    },
  );
  return new Set(saved.map(({ id }) => id));
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

/** The texts of the reminders of a paid order, and the recipient of the next one. */
export interface Reminder {
  step: "staff" | "operators";
  partnerId: string;
  partnerTitle: string;
  number?: string | undefined;
  total: { amountMinor: number; currency: string };
  /** The end of the time to accept the order, RFC 3339. */
  acceptUntil: string;
}

export interface SeenOrder {
  orderId: string;
  version: number;
  customerId: string;
  /** Of a paid order. */
  reminder?: { at: string; content: Reminder } | undefined;
}

/**
 * Records the customers of orders and the versions of the current messages. A message newer than all before sets the
 * reminder or ends it. An older one changes nothing, so an order that was accepted gets no reminder by a late message.
 * @param orders any number of messages of each order
 * @returns the newest recorded version of each order, including these
 */
export async function recordOrders(
  db: Db,
  orders: readonly SeenOrder[],
): Promise<ReadonlyMap<string, number>> {
  const newest = await rows<{ orderId: string; version: number }>(
    db,
    `INSERT INTO known_orders AS known (order_id, version, customer_id, remind_at, reminder)
     SELECT DISTINCT ON ("orderId") "orderId", version, "customerId", (reminder ->> 'at')::timestamptz,
       reminder -> 'content'
     FROM jsonb_to_recordset(?::jsonb) AS o("orderId" uuid, version integer, "customerId" uuid, reminder jsonb)
     ORDER BY "orderId", version DESC
     ON CONFLICT (order_id) DO UPDATE
       SET version = greatest(known.version, excluded.version), updated_at = now(),
         remind_at = CASE WHEN excluded.version > known.version THEN excluded.remind_at ELSE known.remind_at END,
         reminder = CASE WHEN excluded.version > known.version THEN excluded.reminder ELSE known.reminder END
     RETURNING order_id, version`,
    [JSON.stringify(orders)],
  );
  return new Map(newest.map(({ orderId, version }) => [orderId, version]));
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
