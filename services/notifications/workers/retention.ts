import type { Settings } from "../../../lib/settings/settings.ts";
import { type Db, deleteOldest } from "../../../lib/sql/database.ts";
import type { Documents } from "../../../mixins/documents/documents.mixin.ts";
import {
  oldestDocument,
  oldestIn,
  type Retention,
  removeDocuments,
} from "../../../mixins/pruning/pruning.mixin.ts";
import type { NotificationDocument } from "../projections/history.ts";
import { pruneEndedSessions } from "../store/devices.repository.ts";

/** Longer than a message about a deleted user can be in the queues. */
const DELETED_RECIPIENT_DAYS = 30;

/** Longer than any access token is valid. */
const ENDED_SESSION_DAYS = 1;

type RetentionSettings = Pick<Settings, "KEEP_NOTIFICATIONS_DAYS" | "KEEP_HISTORY_DAYS">;

/** The retention of each store of this service. */
export function notificationRetentions(
  config: RetentionSettings,
  history: Documents<NotificationDocument>,
): Retention[] {
  return [
    {
      store: "notifications",
      keepDays: config.KEEP_NOTIFICATIONS_DAYS,
      prune: (db, { id }, limit) => pruneNotifications(db, id, limit),
      oldest: oldestIn("notifications", "id"),
    },
    {
      store: "documents.notifications",
      keepDays: config.KEEP_NOTIFICATIONS_DAYS,
      prune: (_, { id }, limit) =>
        removeDocuments(history, { query: { _id: { $lt: id } }, sort: ["_id"] }, limit),
      oldest: oldestDocument(history, "_id"),
    },
    {
      store: "known_orders",
      keepDays: config.KEEP_HISTORY_DAYS,
      prune: (db, { id }, limit) => pruneKnownOrders(db, id, limit),
      oldest: oldestIn("known_orders", "order_id"),
    },
    {
      store: "ended_sessions",
      keepDays: ENDED_SESSION_DAYS,
      prune: (db, { at }, limit) => pruneEndedSessions(db, at, limit),
      oldest: oldestIn("ended_sessions", "created_at"),
    },
    {
      store: "recipients",
      keepDays: DELETED_RECIPIENT_DAYS,
      prune: (db, { at }, limit) => pruneDeletedRecipients(db, at, limit),
      oldest: oldestIn("recipients", "deleted_at", "deleted_at IS NOT NULL"),
    },
  ];
}

/** Deletes notifications; their deferrals go by cascade. */
export async function pruneNotifications(db: Db, beforeId: string, limit: number): Promise<number> {
  return deleteOldest(db, "notifications", "id", { before: beforeId, limit });
}

export async function pruneKnownOrders(db: Db, beforeId: string, limit: number): Promise<number> {
  return deleteOldest(db, "known_orders", "order_id", { before: beforeId, limit });
}

export async function pruneDeletedRecipients(db: Db, beforeAt: string, limit: number): Promise<number> {
  return deleteOldest(db, "recipients", "deleted_at", { before: beforeAt, limit });
}
