import type { Result } from "../../contracts/actions.ts";
import { invalidField } from "../../contracts/errors.ts";
import type { NotificationView } from "../../contracts/notifications.ts";
import { isId } from "../../lib/ids.ts";
import type { Documents } from "../../mixins/documents/documents.mixin.ts";
import type { Postgres } from "../../mixins/postgres/postgres.mixin.ts";
import { getNotification, type NotificationRow, settledAfter } from "./notifications.repository.ts";

const LIMIT_DEFAULT = 20;
const REBUILD_BATCH = 500;
const BEFORE_ALL = "00000000-0000-0000-0000-000000000000";

/** One notification with its attempts, as people read it; made from PostgreSQL at any time. */
export interface NotificationDocument extends Omit<NotificationView, "id"> {
  readonly _id: string;
  userId?: string;
}

interface HistoryDeps {
  postgres: Postgres;
  documents: Documents<NotificationDocument>;
}

/** Puts a notification into the history, as it is in the database now. */
export async function project({ postgres, documents }: HistoryDeps, id: string): Promise<void> {
  const row = await getNotification(postgres.db, id);
  if (!row) return;
  await remember({ documents }, row);
  // Its owner may have been forgotten in between, and then this was the last trace.
  if (!(await getNotification(postgres.db, id))) await documents.remove({ _id: id });
}

export async function remember(
  { documents }: Pick<HistoryDeps, "documents">,
  { id, userId, orderId, event, title, body, state, attempts, createdAt }: NotificationRow,
): Promise<void> {
  await documents.put({
    _id: id,
    event,
    title,
    body,
    state,
    attempts,
    createdAt,
    ...(userId && { userId }),
    ...(orderId && { orderId }),
  });
}

/** Makes the whole history anew. @returns how many notifications it holds now */
export async function rebuild({ postgres, documents }: HistoryDeps): Promise<number> {
  await documents.clear();
  let count = 0;
  let after = BEFORE_ALL;
  for (;;) {
    const batch = await settledAfter(postgres.db, after, REBUILD_BATCH);
    for (const row of batch) await remember({ documents }, row);
    count += batch.length;
    const last = batch.at(-1);
    if (!last) return count;
    after = last.id;
  }
}

/** A person's notifications, the newest first. @throws VALIDATION_ERROR for a cursor that is not one of ours */
export async function listHistory(
  { documents }: Pick<HistoryDeps, "documents">,
  userId: string,
  { cursor, limit = LIMIT_DEFAULT }: { cursor?: string; limit?: number },
): Promise<Result<"notifications.list">> {
  const before = cursor === undefined ? undefined : Buffer.from(cursor, "base64url").toString("utf8");
  if (before !== undefined && !isId(before))
    throw invalidField("cursor", "cursor", "The cursor is not ours.");
  const found = await documents.find({
    query: { userId, ...(before && { _id: { $lt: before } }) },
    sort: ["-_id"],
    limit: limit + 1,
  });
  const items = found.slice(0, limit).map(viewOf);
  const last = items.at(-1);
  return found.length > limit && last
    ? { items, nextCursor: Buffer.from(last.id).toString("base64url") }
    : { items };
}

function viewOf({ _id, event, title, body, orderId, state, attempts, createdAt }: NotificationDocument) {
  const view: NotificationView = { id: _id, event, title, body, state, attempts, createdAt };
  return orderId ? { ...view, orderId } : view;
}
