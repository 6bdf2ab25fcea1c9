import { affected, type Db, row, rows, type Transaction } from "../../../lib/sql/database.ts";
import { OFFERED_ENTRY, POOL_ENTRY, type PoolRow, poolCondition } from "./order-lists.repository.ts";

/** Entries get their place one after the other, so a reader that sees an entry sees all entries before it. */
const LOG_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('event log', 0))";

/** An entry as it is stored. */
export interface LogRow {
  messageId: string;
  kind: "move" | "alert" | "duty";
  orderId?: string | undefined;
  partnerId?: string | undefined;
  inPool?: boolean | undefined;
  offeredTo?: string | undefined;
  data: object;
}

/** Whether couriers see an order, as it is now and as the last entry about it says. */
export interface PoolState {
  orderId: string;
  inPool: boolean;
  offeredTo?: string;
  offerUntil?: string;
  /** Absent if the log has no entry about it. */
  wasInPool?: boolean;
  wasOfferedTo?: string;
}

/** Locks the log until the transaction ends. */
export async function lockLog(trx: Transaction): Promise<void> {
  await row(trx, LOG_LOCK);
}

/** Those of the messages that the log contains already. */
export async function loggedMessages(trx: Transaction, messageIds: readonly string[]): Promise<Set<string>> {
  const found = await rows<{ messageId: string }>(
    trx,
    "SELECT message_id FROM event_log WHERE message_id = ANY (?::uuid[])",
    [messageIds],
  );
  return new Set(found.map(({ messageId }) => messageId));
}

/** @param offered whether orders are offered to couriers before they are in the pool */
export async function poolStates(
  trx: Transaction,
  orderIds: readonly string[],
  { offered }: { offered: boolean },
): Promise<PoolState[]> {
  return rows<PoolState>(
    trx,
    `SELECT o.id AS order_id, (${await poolCondition(trx, offered)}) AS in_pool, o.offered_to, o.offer_until,
       last.in_pool AS was_in_pool, last.offered_to AS was_offered_to
     FROM orders o LEFT JOIN LATERAL (
       SELECT e.in_pool, e.offered_to FROM event_log e WHERE e.order_id = o.id AND e.in_pool IS NOT NULL
       ORDER BY e.id DESC LIMIT 1) AS last ON true
     WHERE o.id = ANY (?::uuid[])`,
    [orderIds],
  );
}

/** Appends entries in this order, at the present time or after the newest entry. @returns the place of the last one */
export async function insertEntries(trx: Transaction, entries: readonly LogRow[]): Promise<number> {
  const found = await row<{ position: number }>(
    trx,
    `WITH last AS MATERIALIZED (
       SELECT greatest(coalesce(max(id), 0), (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) AS id FROM event_log),
     added AS (
       INSERT INTO event_log (id, message_id, kind, order_id, partner_id, in_pool, offered_to, data)
       SELECT last.id + e.place, e.message_id, e.kind, e.order_id, e.partner_id, e.in_pool, e.offered_to, e.data
       FROM last, jsonb_to_recordset(:entries::jsonb) AS e(place integer, message_id uuid, kind text, order_id uuid,
         partner_id uuid, in_pool boolean, offered_to uuid, data jsonb)
       RETURNING id)
     SELECT max(id) AS position FROM added`,
    {
      entries: JSON.stringify(
        entries.map((entry, index) => ({
          place: index + 1,
          message_id: entry.messageId,
          kind: entry.kind,
          order_id: entry.orderId,
          partner_id: entry.partnerId,
          in_pool: entry.inPool,
          offered_to: entry.offeredTo,
          data: entry.data,
        })),
      ),
    },
  );
  return found?.position ?? 0;
}

/** The newest entry, and whether the log still has all entries after `after`. */
export async function logPosition(
  db: Db,
  after: number | undefined,
): Promise<{ position: number; isKnown: boolean }> {
  const found = await row<{ position: number; isKnown: boolean }>(
    db,
    `SELECT coalesce((SELECT max(id) FROM event_log), 0) AS position,
       EXISTS (SELECT FROM event_log WHERE id = ?) AS is_known`,
    [after ?? 0],
  );
  return found ?? { position: 0, isKnown: false };
}

export interface StoredEntry {
  id: number;
  kind: LogRow["kind"];
  orderId?: string;
  data: object;
}

/** The entries after a place, the oldest first. */
export async function entriesAfter(
  db: Db,
  { after, partnerId, limit }: { after: number; partnerId?: string | undefined; limit: number },
): Promise<StoredEntry[]> {
  return rows<StoredEntry>(
    db,
    `SELECT id, kind, order_id, data FROM event_log
     WHERE id > :after ${partnerId ? "AND partner_id = :partnerId" : "AND kind <> 'start'"} ORDER BY id LIMIT :limit`,
    { after, limit, ...(partnerId && { partnerId }) },
  );
}

/** Those of the orders that couriers see now: in the pool, or offered to a courier. */
export async function shownToCouriers(
  db: Db,
  orderIds: readonly string[],
  { offered }: { offered: boolean },
): Promise<(PoolRow & { offeredTo?: string })[]> {
  return rows(
    db,
    `${POOL_ENTRY("NULL::integer", "o.offered_to, ")} WHERE o.id = ANY (?::uuid[]) AND (${await poolCondition(db, offered)} OR ${OFFERED_ENTRY})`,
    [orderIds],
  );
}

/** When the oldest entry was written that will be deleted. */
export async function oldestEntry(db: Db): Promise<string | undefined> {
  const found = await row<{ createdAt: string }>(
    db,
    "SELECT created_at FROM event_log WHERE id < (SELECT max(id) FROM event_log) ORDER BY id LIMIT 1",
  );
  return found?.createdAt;
}

/** Deletes old entries, except the newest one: a stream that is up to date can always resume from it. */
export async function pruneLog(db: Db, beforeMs: number, limit: number): Promise<number> {
  return affected(
    db,
    `DELETE FROM event_log WHERE id = ANY (ARRAY(
       SELECT id FROM event_log WHERE id < least(:before::bigint, (SELECT max(id) FROM event_log)) ORDER BY id LIMIT :limit
       FOR UPDATE SKIP LOCKED))`,
    { before: beforeMs * 1_000, limit },
  );
}
