import type { DeadLetter, UndeliveredMessage } from "../../contracts/dead-letters.ts";
import { affected, type Db, row, rows } from "../../lib/sql/database.ts";
import type { InboxRow } from "./inbox.repository.ts";

/** The dead and quarantined messages of every group in this database, the latest first. */
export async function listDeadLetters(db: Db, limit: number): Promise<Omit<DeadLetter, "service">[]> {
  return rows(
    db,
    `SELECT dead_letter_id AS id, consumer, message_id, type, left(subject, 100) AS subject, attempts,
       coalesce(error, '') AS error, updated_at AS at
     FROM inbox WHERE state IN ('dead', 'quarantined')
     ORDER BY dead_letter_id DESC LIMIT ?`,
    [limit],
  );
}

export interface LockedDeadLetter extends Omit<InboxRow, "id" | "state"> {
  messageId: string;
  consumer: string;
  state: "dead" | "quarantined";
}

/** Locks one dead letter; undefined when there is none with this id. */
export async function lockDeadLetter(trx: Db, id: string): Promise<LockedDeadLetter | undefined> {
  return row<LockedDeadLetter>(
    trx,
    `SELECT message_id, consumer, source, type, subject, time, dataschema, traceparent, data, state, error,
       dead_letter_id
     FROM inbox WHERE dead_letter_id = ? AND state IN ('dead', 'quarantined') FOR UPDATE`,
    [id],
  );
}

/** Puts a dead letter back into its queue and resets its number of deliveries. */
export async function requeue(trx: Db, id: string, content: InboxRow): Promise<void> {
  await affected(
    trx,
    `UPDATE inbox SET state = 'waiting', attempts = 0, next_at = now(), error = NULL, updated_at = now(),
       source = :source, type = :type, subject = :subject, time = :time, dataschema = :dataschema,
       traceparent = :traceparent, data = (:data)::jsonb
     WHERE dead_letter_id = :id AND state IN ('dead', 'quarantined')`,
    { ...content, traceparent: content.traceparent ?? null, data: JSON.stringify(content.data), id },
  );
}

/** @returns false when there is no dead letter with this id */
export async function drop(db: Db, id: string): Promise<boolean> {
  const count = await affected(
    db,
    `UPDATE inbox SET state = 'dropped', updated_at = now()
     WHERE dead_letter_id = ? AND state IN ('dead', 'quarantined')`,
    [id],
  );
  return count === 1;
}

/** Deletes up to `limit` dead letters whose id, a UUIDv7, is below `beforeId`. Returns their number. */
export async function pruneDeadLetters(db: Db, beforeId: string, limit: number): Promise<number> {
  return affected(
    db,
    `DELETE FROM inbox WHERE ctid = ANY (ARRAY(
       SELECT ctid FROM inbox WHERE state IN ('dead', 'quarantined') AND dead_letter_id < ?
       ORDER BY dead_letter_id LIMIT ? FOR UPDATE SKIP LOCKED))`,
    [beforeId, limit],
  );
}

/** Whether the dead letter was dropped or replayed before. */
export async function wasDeadLetter(db: Db, id: string): Promise<boolean> {
  return (await row(db, "SELECT 1 AS found FROM inbox WHERE dead_letter_id = ?", [id])) !== undefined;
}

export type Undelivered = Omit<UndeliveredMessage, "service" | "waitsForDependency">;

/** Messages about a subject that were received but not handled, or that were not sent yet. */
export async function listUndelivered(db: Db, subject: string, limit: number): Promise<Undelivered[]> {
  return rows<Undelivered>(
    db,
    `SELECT message_id, type, attempts, error, 'inbox' AS place, consumer,
       CASE WHEN state = 'waiting' THEN 'waiting' ELSE 'dead' END AS state, created_at AS since,
       CASE WHEN state = 'waiting' THEN next_at END AS next_at, dead_letter_id
     FROM inbox WHERE subject = ? AND state IN ('waiting', 'dead', 'quarantined')
     UNION ALL
     SELECT id, type, attempts, error, 'outbox', NULL, 'waiting', created_at, next_at, NULL
     FROM outbox WHERE subject = ? AND sent_at IS NULL
     LIMIT ?`,
    [subject, subject, limit],
  );
}
