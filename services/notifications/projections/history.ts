import type { Result } from "../../../contracts/actions.ts";
import { invalidField } from "../../../contracts/errors.ts";
import type { NotificationView } from "../../../contracts/notifications.ts";
import { groupedReads } from "../../../lib/grouped-reads.ts";
import { isId } from "../../../lib/ids.ts";
import { omitUndefined } from "../../../lib/omit-undefined.ts";
import { type Documents, documents, type StoreLocation } from "../../../mixins/documents/documents.mixin.ts";
import { batchesById, reconcile } from "../../../mixins/documents/reconcile.ts";
import type { Postgres } from "../../../mixins/postgres/postgres.mixin.ts";
import { getNotifications, type NotificationRow, settledAfter } from "../store/notifications.repository.ts";

const LIMIT_DEFAULT = 20;

/** A notification with its attempts, for reading. It can be rebuilt from PostgreSQL at any time. */
export interface NotificationDocument extends Omit<NotificationView, "id"> {
  readonly _id: string;
  userId?: string;
  /** The number of delivery rounds. The document with more of them is the newer one. */
  passes: number;
}

/** The document collection of this service, with its rebuild from the database. */
export function notificationDocuments(
  postgres: Postgres,
  place: StoreLocation,
): Documents<NotificationDocument> {
  const history: Documents<NotificationDocument> = documents({
    ...place,
    collection: "notifications",
    indexes: [["userId", "-_id"]],
    version: "passes",
    rebuild: (progress) => rebuild({ postgres, documents: history }, progress),
  });
  return history;
}

interface HistoryDeps {
  postgres: Postgres;
  documents: Documents<NotificationDocument>;
}

/** @returns a function that writes the current state of a notification from the database into the history */
export function projection({ postgres, documents }: HistoryDeps): (id: string) => Promise<void> {
  const read = groupedReads(
    async (ids) => new Map((await getNotifications(postgres.db, ids)).map((row) => [row.id, row])),
  );
  return async (id) => {
    const row = await read(id);
    if (!row) return;
    await documents.put(documentOf(row));
    // The user may have been erased meanwhile. Then the document must not stay.
    if (!(await read(id))) await documents.remove({ _id: id });
  };
}

function documentOf(row: NotificationRow): NotificationDocument {
  const { id, userId, orderId, event, title, body, state, attempts, passes, createdAt } = row;
  return omitUndefined({ _id: id, userId, orderId, event, title, body, state, attempts, passes, createdAt });
}

/** Brings the whole history in line with PostgreSQL. @returns the number of notifications */
export async function rebuild(
  { postgres, documents }: HistoryDeps,
  progress?: (documents: number) => void,
): Promise<number> {
  return reconcile(
    documents,
    {
      async of(found) {
        const ids = found.map(({ _id }) => _id);
        return (await getNotifications(postgres.db, ids)).map(documentOf);
      },
      async *all() {
        const batches = batchesById((after, limit) => settledAfter(postgres.db, after, limit));
        for await (const batch of batches) yield batch.map(documentOf);
      },
    },
    progress,
  );
}

/** The notifications of a user, newest first. @throws VALIDATION_ERROR for an unknown cursor */
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
