import { affected, type Db, row, rows } from "../../lib/sql/database.ts";

/** A message as the inbox stores it. */
export interface InboxRow {
  id: string;
  source: string;
  type: string;
  subject: string;
  time: string;
  dataschema: string;
  traceparent?: string;
  data: unknown;
  state: "waiting" | "quarantined";
  error?: string;
  deadLetterId?: string;
}

/** A message that this process handles until its lease expires. */
export interface Claimed extends Omit<InboxRow, "id" | "state" | "deadLetterId"> {
  messageId: string;
  /** The number of deliveries, including this one. */
  attempts: number;
  /** Whether it was a dead letter before. */
  replayed: boolean;
  /** Whether an earlier delivery ended without a result, for example because the process was killed. */
  suspect: boolean;
  /** This delivery was made when the message arrived, and failed. */
  failure?: { error: unknown };
}

/** A message that `claimDue` claimed. */
export interface ClaimedDue extends Claimed {
  /** The limit for each type in this claim. A type with this many messages may have more of them. */
  share: number;
}

/** A message to store. */
export interface ArrivedMessage extends InboxRow {
  /** This process claims it at once. */
  claim?: boolean;
  /** It is handled already, or in the same transaction. */
  done?: boolean;
}

/**
 * Stores messages in a group's inbox by one statement. Those with `claim` are stored as `claimDue` would leave them:
 * delivered once, under a lease. Those with `done` are stored without their data, which has no further use.
 * Sorted by id, so that two replicas that get the same messages do not deadlock.
 * @returns the ids of the new ones: messages that the group knows already keep their state
 */
export async function acceptMessages(
  db: Db,
  group: string,
  messages: readonly ArrivedMessage[],
  lease: { token: string; leaseMs: number },
): Promise<Set<string>> {
  const accepted = await rows<{ messageId: string }>(
    db,
    `INSERT INTO inbox (message_id, consumer, source, type, subject, time, dataschema, traceparent, data, state,
       error, dead_letter_id, attempts, lease_token, next_at)
     SELECT id, :group, source, type, subject, time, dataschema, traceparent, data,
       CASE WHEN done THEN 'done' ELSE state END, error, "deadLetterId",
       CASE WHEN claim OR done THEN 1 ELSE 0 END, CASE WHEN claim THEN (:token)::uuid END,
       CASE WHEN claim THEN now() + :leaseMs * interval '1 millisecond' ELSE now() END
     FROM jsonb_to_recordset((:messages)::jsonb) AS m(id uuid, source text, type text, subject text,
       time timestamptz, dataschema text, traceparent text, data jsonb, state text, error text,
       "deadLetterId" uuid, claim boolean, done boolean)
     ORDER BY id
     ON CONFLICT (message_id, consumer) DO NOTHING
     RETURNING message_id`,
    { group, messages: JSON.stringify(messages.map(withoutDataIfDone)), ...lease },
  );
  return new Set(accepted.map(({ messageId }) => messageId));
}

function withoutDataIfDone(message: ArrivedMessage): ArrivedMessage {
  return message.done ? { ...message, data: {} } : message;
}

/** A new message that `acceptMessages` claimed. */
export function claimedOnArrival({ id, state: _, deadLetterId: __, ...message }: InboxRow): Claimed {
  return { ...message, messageId: id, attempts: 1, replayed: false, suspect: false };
}

/** A message whose last delivery ended without a result is isolated when it was delivered this often before. */
const SUSPECT_AFTER = 2;

/** Whether the process must not deliver another suspect at the same time. */
export function isIsolated({ suspect, attempts }: Claimed): boolean {
  return suspect && attempts > SUSPECT_AFTER;
}

/**
 * Claims due messages under a lease, in one committed statement. The claim increments `attempts`, so that a message that
 * crashes the process is counted too.
 *
 * Each type is a lane of the index, and the lanes with due messages share the limit. So a million messages of one type
 * do not delay the messages of another type. If there are more lanes than the limit, random lanes are chosen.
 *
 * A due row that still has a lease token was being handled when its process ended. Another message may have been the
 * cause, so from the second time on such rows are claimed one at a time. Only the message that really crashes the
 * process then reaches the maximum number of deliveries.
 */
export async function claimDue(
  db: Db,
  claim: {
    group: string;
    types: readonly string[];
    limit: number;
    /** The limit for messages that must be isolated: 0 or 1. */
    isolated: number;
    token: string;
    leaseMs: number;
  },
): Promise<ClaimedDue[]> {
  const due = "consumer = :group AND state = 'waiting' AND next_at <= now()";
  const columns = "ctid AS row_position, message_id, lease_token IS NOT NULL AS suspect";
  const share = "(SELECT greatest(1, (:limit)::integer / count(*)) FROM lanes)";
  return rows<ClaimedDue>(
    db,
    `WITH lanes AS MATERIALIZED (
       SELECT lane FROM unnest((:types)::text[]) AS lane
       WHERE (SELECT true FROM inbox WHERE ${due} AND type = lane ORDER BY next_at LIMIT 1)
       ORDER BY random()),
     ordinary AS (
       SELECT first.* FROM lanes CROSS JOIN LATERAL (
         SELECT ${columns} FROM inbox
         WHERE ${due} AND type = lane AND (lease_token IS NULL OR attempts < ${SUSPECT_AFTER})
         ORDER BY next_at LIMIT ${share} FOR UPDATE SKIP LOCKED) AS first
       LIMIT :limit),
     isolated AS (
       SELECT ${columns} FROM inbox
       WHERE ${due} AND type = ANY(:types) AND lease_token IS NOT NULL AND attempts >= ${SUSPECT_AFTER}
       ORDER BY next_at LIMIT :isolated FOR UPDATE SKIP LOCKED),
     claimed AS MATERIALIZED (SELECT * FROM ordinary UNION ALL SELECT * FROM isolated)
     UPDATE inbox SET attempts = attempts + 1, lease_token = :token, updated_at = now(),
       next_at = now() + :leaseMs * interval '1 millisecond'
     WHERE ctid = ANY (ARRAY(SELECT row_position FROM claimed))
     RETURNING message_id, source, type, subject, time, dataschema, traceparent, data, attempts, error,
       message_id = ANY (ARRAY(SELECT message_id FROM claimed WHERE suspect)) AS suspect,
       dead_letter_id IS NOT NULL AS replayed, ${share} AS share`,
    claim,
  );
}

/** Extends leases. Returns the ids of the messages whose lease was still held; locked rows are skipped. */
export async function renewLeases(
  db: Db,
  group: string,
  held: readonly { messageId: string; token: string }[],
  leaseMs: number,
): Promise<Set<string>> {
  const renewed = await rows<{ messageId: string }>(
    db,
    `WITH held AS (
       SELECT message_id FROM inbox
       JOIN jsonb_to_recordset(?::jsonb) AS h("messageId" uuid, token uuid)
         ON message_id = h."messageId" AND lease_token = h.token
       WHERE consumer = ?
       FOR UPDATE OF inbox SKIP LOCKED)
     UPDATE inbox SET next_at = now() + ? * interval '1 millisecond'
     FROM held WHERE inbox.message_id = held.message_id AND consumer = ?
     RETURNING inbox.message_id`,
    [JSON.stringify(held), group, leaseMs, group],
  );
  return new Set(renewed.map(({ messageId }) => messageId));
}

/** The condition of every write of a result: only the holder of the lease may write it. */
export interface Fence {
  group: string;
  messageId: string;
  token: string;
}

// Only waiting rows have a token, so there is no condition for the state. With one, the planner may use the index of all
// waiting rows instead of the primary key.
const FENCED = "WHERE message_id = ? AND consumer = ? AND lease_token = ?";
const fence = ({ messageId, group, token }: Fence) => [messageId, group, token];

/** @returns false when the lease was lost; nothing may be committed then */
export async function markDone(trx: Db, lease: Fence): Promise<boolean> {
  const count = await affected(
    trx,
    `UPDATE inbox SET state = 'done', lease_token = NULL, error = NULL, updated_at = now() ${FENCED}`,
    fence(lease),
  );
  return count === 1;
}

/** Does `markDone` for many messages in one statement. Returns the ids of the messages whose lease was still held. */
export async function markAllDone(trx: Db, leases: readonly Fence[]): Promise<Set<string>> {
  const done = await rows<{ messageId: string }>(
    trx,
    `UPDATE inbox SET state = 'done', lease_token = NULL, error = NULL, updated_at = now()
     FROM jsonb_to_recordset(?::jsonb) AS h("messageId" uuid, "group" text, token uuid)
     WHERE message_id = h."messageId" AND consumer = h."group" AND lease_token = h.token
     RETURNING message_id`,
    [JSON.stringify(leases.map(({ messageId, group, token }) => ({ messageId, group, token })))],
  );
  return new Set(done.map(({ messageId }) => messageId));
}

/** Releases a message for a later delivery. @param countsAs 1 for a failed delivery, 0 for one that does not count */
export async function reschedule(
  db: Db,
  lease: Fence,
  delayMs: number,
  countsAs: 0 | 1,
  error?: string,
): Promise<boolean> {
  const count = await affected(
    db,
    `UPDATE inbox SET lease_token = NULL, next_at = now() + ? * interval '1 millisecond',
       attempts = attempts - ?, error = coalesce(?, error), updated_at = now() ${FENCED}`,
    [delayMs, 1 - countsAs, error ?? null, ...fence(lease)],
  );
  return count === 1;
}

export async function markDead(
  db: Db,
  lease: Fence,
  dead: { attempts: number; error: string; deadLetterId: string },
): Promise<boolean> {
  const count = await affected(
    db,
    `UPDATE inbox SET state = 'dead', lease_token = NULL, attempts = ?, error = ?,
       dead_letter_id = coalesce(dead_letter_id, ?), updated_at = now() ${FENCED}`,
    [dead.attempts, dead.error, dead.deadLetterId, ...fence(lease)],
  );
  return count === 1;
}

export interface InboxStats {
  /** The number of waiting messages, counted up to 100,000. */
  waiting: number;
  /** The number of dead and quarantined messages, which wait for an operator. */
  deadLetters: number;
  /** Age of the oldest waiting message; 0 when there is none. */
  oldestAgeMs: number;
}

const COUNT_MAX = 100_000;
/** For each type, the oldest message is searched among this number of messages that are due first. */
const OLDEST_SEARCH_ROWS = 100;

export async function inboxStats(db: Db, group: string, types: readonly string[]): Promise<InboxStats> {
  const stats = await row<Omit<InboxStats, "oldestAgeMs">>(
    db,
    `SELECT
       (SELECT count(*)::integer FROM (
          SELECT FROM inbox WHERE consumer = ? AND state = 'waiting' LIMIT ${COUNT_MAX}) AS waiting) AS waiting,
       (SELECT count(*)::integer FROM inbox
        WHERE consumer = ? AND state IN ('dead', 'quarantined')) AS dead_letters`,
    [group, group],
  );
  const oldestAgeMs = await oldestWaitingMs(db, group, types);
  return { waiting: 0, deadLetters: 0, ...stats, oldestAgeMs };
}

/** Age of the oldest waiting message of these types; 0 when there is none. */
export async function oldestWaitingMs(db: Db, group: string, types: readonly string[]): Promise<number> {
  const oldest = await row<{ ageMs: number }>(
    db,
    `SELECT extract(epoch FROM now() - min(waiting.created_at)) * 1000 AS age_ms
     FROM unnest(?::text[]) AS lane CROSS JOIN LATERAL (
       SELECT created_at FROM inbox WHERE consumer = ? AND state = 'waiting' AND type = lane
       ORDER BY next_at LIMIT ${OLDEST_SEARCH_ROWS}) AS waiting`,
    [types, group],
  );
  return Math.max(0, Math.round(Number(oldest?.ageMs ?? 0)));
}

/**
 * Deletes up to `limit` done or dropped messages whose id, a UUIDv7, is below `beforeId`. Returns their number. Dead
 * letters stay until an operator replays or drops them.
 */
export async function pruneInbox(db: Db, beforeId: string, limit: number): Promise<number> {
  return affected(
    db,
    `DELETE FROM inbox WHERE ctid = ANY (ARRAY(
       SELECT ctid FROM inbox
       WHERE message_id < ? AND state IN ('done', 'dropped')
       ORDER BY message_id LIMIT ? FOR UPDATE SKIP LOCKED))`,
    [beforeId, limit],
  );
}
