import type { Message } from "../../contracts/messages.ts";
import { affected, type Db, row, rows } from "../../lib/sql/database.ts";

/** A message that waits in the outbox, with the number of hand-overs that failed. */
export interface Waiting {
  message: Message;
  attempts: number;
}

export interface Failure {
  id: string;
  delayMs: number;
}

/**
 * The SQL that inserts messages. The binding `:messages` is the result of `messageRows`.
 * @param from the name of a WITH query of a larger statement, which has one row or none: with none, nothing is inserted
 */
export const insertOfMessages = (from?: string) => `
  INSERT INTO outbox (id, source, type, subject, time, dataschema, traceparent, data)
  SELECT m.id, m.source, m.type, m.subject, m.time, m.dataschema, m.traceparent, m.data
  FROM ${from ? `${from}, ` : ""}jsonb_to_recordset(:messages::jsonb) AS m(id uuid, source text, type text,
    subject text, time timestamptz, dataschema text, traceparent text, data jsonb)`;

export const messageRows = (messages: readonly Message[]): string => JSON.stringify(messages);

const INSERT = insertOfMessages();

export async function insertMessages(trx: Db, messages: readonly Message[]): Promise<void> {
  await affected(trx, INSERT, { messages: messageRows(messages) });
}

/** Whether there is anything to hand over: one cheap look, so that an idle service costs next to nothing. */
export async function dueMessages(db: Db): Promise<{ fresh: boolean; retried: boolean }> {
  const due = await row<{ fresh: boolean; retried: boolean }>(
    db,
    `SELECT
       EXISTS (SELECT FROM outbox WHERE sent_at IS NULL AND attempts = 0 AND next_at <= now()) AS fresh,
       EXISTS (SELECT FROM outbox WHERE sent_at IS NULL AND attempts > 0 AND next_at <= now()) AS retried`,
  );
  return due ?? { fresh: false, retried: false };
}

/**
 * Locks up to `limit` messages that are due until the transaction ends, skipping what another relay has.
 * @param retried those that a message bus refused before, else the fresh ones
 */
export async function claimMessages(trx: Db, retried: boolean, limit: number): Promise<Waiting[]> {
  const found = await rows<Omit<Message, "specversion"> & { attempts: number }>(
    trx,
    `SELECT id, source, type, subject, time, dataschema, traceparent, data, attempts
     FROM outbox
     WHERE sent_at IS NULL AND attempts ${retried ? ">" : "="} 0 AND next_at <= now()
     ORDER BY next_at
     LIMIT ?
     FOR UPDATE SKIP LOCKED`,
    [limit],
  );
  return found.map(({ attempts, ...rest }) => ({ attempts, message: { specversion: "1.0", ...rest } }));
}

export async function markSent(trx: Db, ids: readonly string[]): Promise<void> {
  await affected(
    trx,
    "UPDATE outbox SET sent_at = now(), updated_at = now(), error = NULL WHERE id = ANY(?::uuid[])",
    [ids],
  );
}

export async function markFailed(trx: Db, failures: readonly Failure[], error: string): Promise<void> {
  await affected(
    trx,
    `UPDATE outbox
     SET attempts = attempts + 1, error = ?, updated_at = now(),
       next_at = clock_timestamp() + f."delayMs" * interval '1 millisecond'
     FROM jsonb_to_recordset(?::jsonb) AS f(id uuid, "delayMs" integer)
     WHERE outbox.id = f.id`,
    [error, JSON.stringify(failures)],
  );
}

export interface OutboxStats {
  /** Counted up to 100,000 of the fresh and as many of the refused: beyond, the figure need not be exact. */
  waiting: number;
  /** Age of the message that waits longest; 0 when none does. */
  oldestAgeMs: number;
}

const COUNT_MAX = 100_000;

export async function outboxStats(db: Db): Promise<OutboxStats> {
  const some = (which: string) => `
    (SELECT created_at FROM outbox WHERE sent_at IS NULL AND attempts ${which} 0
     ORDER BY next_at LIMIT ${COUNT_MAX})`;
  const stats = await row<OutboxStats>(
    db,
    `SELECT count(*)::integer AS waiting,
       coalesce(extract(epoch FROM now() - min(created_at)) * 1000, 0)::bigint AS oldest_age_ms
     FROM (${some("=")} UNION ALL ${some(">")}) AS waiting`,
  );
  return stats ?? { waiting: 0, oldestAgeMs: 0 };
}

/** Deletes up to `limit` messages that were handed over longer than `retentionMs` ago; returns how many. */
export async function pruneOutbox(db: Db, retentionMs: number, limit: number): Promise<number> {
  return affected(
    db,
    `DELETE FROM outbox WHERE ctid = ANY (ARRAY(
       SELECT ctid FROM outbox
       WHERE sent_at IS NOT NULL AND sent_at < now() - ? * interval '1 millisecond'
       ORDER BY sent_at LIMIT ? FOR UPDATE SKIP LOCKED))`,
    [retentionMs, limit],
  );
}
