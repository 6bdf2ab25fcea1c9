import { affected, type Db, row, rows } from "../../lib/sql/database.ts";

/** What the inbox keeps of a message. */
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

/** A message that this process works on until its lease ends. */
export interface Claimed extends Omit<InboxRow, "id" | "state" | "deadLetterId"> {
  messageId: string;
  /** Deliveries, this one included. */
  attempts: number;
  /** Whether it was a dead letter before. */
  replayed: boolean;
  /** Whether an earlier delivery ended without a word, as when the process was killed. */
  suspect: boolean;
  /** How many messages of each type were asked for: as many of one type say that there may be more of it. */
  share: number;
}

/** Commits messages to a group's inbox in one statement; returns how many it did not know. */
export async function acceptMessages(db: Db, group: string, messages: readonly InboxRow[]): Promise<number> {
  return affected(
    db,
    `INSERT INTO inbox (message_id, consumer, source, type, subject, time, dataschema, traceparent, data, state,
       error, dead_letter_id)
     SELECT id, ?, source, type, subject, time, dataschema, traceparent, data, state, error, "deadLetterId"
     FROM jsonb_to_recordset(?::jsonb) AS m(id uuid, source text, type text, subject text, time timestamptz,
       dataschema text, traceparent text, data jsonb, state text, error text, "deadLetterId" uuid)
     ON CONFLICT (message_id, consumer) DO NOTHING`,
    [group, JSON.stringify(messages)],
  );
}

/** After so many deliveries that ended without a word, a message is delivered apart from others. */
const SUSPECT_AFTER = 2;

/** Whether nothing else that is suspect may be delivered beside it. */
export function isIsolated({ suspect, attempts }: Claimed): boolean {
  return suspect && attempts > SUSPECT_AFTER;
}

/**
 * Takes messages that are due under a lease, in one committed statement: a delivery counts from here, so that
 * a message that kills the process is counted too.
 *
 * Each type is a lane of the index, and the lanes that have something due share the limit: a million messages of one
 * type cost the claim of another one neither time nor its turn. Among more lanes than the limit, chance decides.
 *
 * A row that is due and still bears a lease token was being worked on when its worker vanished. Once may be
 * anybody's misfortune; from the second time on such rows come one at a time, so that whoever was merely near
 * a message that kills is cleared when its turn comes, and only the killer dies of the count.
 */
export async function claimDue(
  db: Db,
  claim: {
    group: string;
    types: readonly string[];
    limit: number;
    /** How many of those that must be alone: one at most. */
    alone: number;
    token: string;
    leaseMs: number;
  },
): Promise<Claimed[]> {
  const due = "consumer = ? AND state = 'waiting' AND next_at <= now()";
  const columns = "ctid AS place, message_id, lease_token IS NOT NULL AS suspect";
  const share = "(SELECT greatest(1, ?::integer / count(*)) FROM lanes)";
  return rows<Claimed>(
    db,
    `WITH lanes AS MATERIALIZED (
       SELECT lane FROM unnest(?::text[]) AS lane
       WHERE (SELECT true FROM inbox WHERE ${due} AND type = lane ORDER BY next_at LIMIT 1)
       ORDER BY random()),
     ordinary AS (
       SELECT first.* FROM lanes CROSS JOIN LATERAL (
         SELECT ${columns} FROM inbox
         WHERE ${due} AND type = lane AND (lease_token IS NULL OR attempts < ${SUSPECT_AFTER})
         ORDER BY next_at LIMIT ${share} FOR UPDATE SKIP LOCKED) AS first
       LIMIT ?),
     alone AS (
       SELECT ${columns} FROM inbox
       WHERE ${due} AND type = ANY(?) AND lease_token IS NOT NULL AND attempts >= ${SUSPECT_AFTER}
       ORDER BY next_at LIMIT ? FOR UPDATE SKIP LOCKED),
     claimed AS MATERIALIZED (SELECT * FROM ordinary UNION ALL SELECT * FROM alone)
     UPDATE inbox SET attempts = attempts + 1, lease_token = ?, updated_at = now(),
       next_at = now() + ? * interval '1 millisecond'
     WHERE ctid = ANY (ARRAY(SELECT place FROM claimed))
     RETURNING message_id, source, type, subject, time, dataschema, traceparent, data, attempts, error,
       message_id = ANY (ARRAY(SELECT message_id FROM claimed WHERE suspect)) AS suspect,
       dead_letter_id IS NOT NULL AS replayed, ${share} AS share`,
    [
      ...[claim.types, claim.group],
      ...[claim.group, claim.limit, claim.limit],
      ...[claim.group, claim.types, claim.alone],
      ...[claim.token, claim.leaseMs, claim.limit],
    ],
  );
}

/** Extends leases; returns the ids of those that were still held. Rows in a running transaction are skipped. */
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

/** What stands in the WHERE of every end of a delivery: only who holds the lease may write it. */
export interface Fence {
  group: string;
  messageId: string;
  token: string;
}

// Only what waits has a token, so the state need not be asked for: asked, the planner may take the index of all
// that wait instead of the primary key.
const FENCED = "WHERE message_id = ? AND consumer = ? AND lease_token = ?";
const fence = ({ messageId, group, token }: Fence) => [messageId, group, token];

/** @returns false when the lease was lost: then nothing may be committed */
export async function markDone(trx: Db, lease: Fence): Promise<boolean> {
  const count = await affected(
    trx,
    `UPDATE inbox SET state = 'done', lease_token = NULL, error = NULL, updated_at = now() ${FENCED}`,
    fence(lease),
  );
  return count === 1;
}

/** As `markDone` for many messages of a group in one statement; returns the ids of those still held. */
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

/** Gives a message back after a failure. @param countsAs 1, or 0 when its handler was never entered */
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
  /** Counted up to 100,000: beyond, the figure need not be exact. */
  waiting: number;
  /** Dead and quarantined: they wait for an operator. */
  deadLetters: number;
  /** Age of the message that waits longest; 0 when none does. */
  oldestAgeMs: number;
}

const COUNT_MAX = 100_000;
/** Of each type the oldest is looked for among so many that are due first: those that are retried are not far behind. */
const LOOKED_AT = 100;

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

/** Age of the oldest message of these types that waits for its effect; 0 when none does. */
export async function oldestWaitingMs(db: Db, group: string, types: readonly string[]): Promise<number> {
  const oldest = await row<{ ageMs: number }>(
    db,
    `SELECT extract(epoch FROM now() - min(waiting.created_at)) * 1000 AS age_ms
     FROM unnest(?::text[]) AS lane CROSS JOIN LATERAL (
       SELECT created_at FROM inbox WHERE consumer = ? AND state = 'waiting' AND type = lane
       ORDER BY next_at LIMIT ${LOOKED_AT}) AS waiting`,
    [types, group],
  );
  return Math.max(0, Math.round(Number(oldest?.ageMs ?? 0)));
}

/**
 * Forgets up to `limit` messages that are over and whose id (which tells the time) is below `beforeId`; returns
 * how many. Dead letters stay until somebody decides.
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
