import {
  type DeadLetterDrop,
  type DeadLetterDropResult,
  type DeadLetterReplay,
  type DeadLetterReplayResult,
  DROP_MAX,
  DROP_SCANNED_MAX,
  REPLAY_MAX,
} from "../../contracts/dead-letters.ts";
import { invalidField, typeOf } from "../../contracts/errors.ts";
import type { Ctx } from "../../contracts/meta.ts";
import { isoTime, momentOf } from "../../lib/clock.ts";
import { type Db, reasonOf, rowsPlannedAnew, type Transaction } from "../../lib/sql/database.ts";
import { shortenLine } from "../../lib/text.ts";
import { audit } from "../outbox/audit.ts";
import type { Outbox } from "../outbox/outbox.mixin.ts";
import type { Postgres } from "../postgres/postgres.mixin.ts";

/** A table with dead letters. All texts are SQL: names of columns, or expressions. */
export interface DeadLetterTable {
  table: string;
  /** A column with UUIDv7s and an index over the dead rows. */
  id: string;
  /** The condition of that index: rows that are no longer delivered. */
  dead: string;
  /** The state of a dropped row. */
  dropped: string;
  consumer: string;
  type: string;
  error: string;
  partnerId: string;
}

export const inboxDeadLetters: DeadLetterTable = {
  table: "inbox",
  id: "dead_letter_id",
  dead: "state IN ('dead', 'quarantined')",
  dropped: "dropped",
  consumer: "consumer",
  type: "type",
  error: "error",
  partnerId: "NULL::uuid",
};

/**
 * Drops the dead letters that match, the oldest first, and records the filter and the number in the audit log. A row that
 * another transaction replays or drops at the same time is skipped and counted as left.
 * @param subject the subject of the entry in the audit log
 * @throws VALIDATION_ERROR for a `before` that names no real date, for example February 30
 */
export async function dropDeadLetters(
  { postgres, outbox }: { postgres: Postgres; outbox: Pick<Outbox, "add"> },
  ctx: Ctx<DeadLetterDrop>,
  table: DeadLetterTable,
  subject: string,
): Promise<DeadLetterDropResult> {
  const drop = {
    ...ctx.params,
    ...(ctx.params.before !== undefined && { before: momentIn(ctx.params.before) }),
  };
  return await postgres.transact(async (trx: Transaction) => {
    const done = await dropMatching(trx, table, drop);
    const { dropped, left } = done;
    if (dropped > 0) {
      await audit(outbox, trx, ctx, subject, `${dropped} dropped, ${left} left of ${filterText(ctx.params)}`);
    }
    return done;
  });
}

/** Errors of one dead letter, which stays one. After any other error the rest of the call is not tried. */
const REFUSALS = ["ILLEGAL_TRANSITION", "VALIDATION_ERROR", "NOT_FOUND"];
const REASON_MAX = 300;

/**
 * Replays the dead letters that match, the oldest first, each in a transaction of its own: one that cannot be replayed does
 * not keep the others. Records the filter and the numbers in the audit log.
 * @param replay replays one, in a transaction; an error of `REFUSALS` leaves it a dead letter
 * @throws VALIDATION_ERROR for a `before` that names no real date
 */
export async function replayDeadLetters(
  { postgres, outbox }: { postgres: Postgres; outbox: Pick<Outbox, "add"> },
  ctx: Ctx<DeadLetterReplay>,
  table: DeadLetterTable,
  subject: string,
  replay: (trx: Transaction, id: string) => Promise<unknown>,
): Promise<DeadLetterReplayResult> {
  const { before, cursor, limit = REPLAY_MAX } = ctx.params;
  const filter = { ...ctx.params, ...(before !== undefined && { before: momentIn(before) }) };
  const { ids, matching, lastId } = await matchingDeadLetters(postgres.db, table, filter, limit);
  const refused: { id: string; reason: string }[] = [];
  for (const id of ids) {
    try {
      await postgres.transact((trx) => replay(trx, id));
    } catch (error) {
      if (!REFUSALS.includes(typeOf(error) ?? "")) throw error;
      refused.push({ id, reason: shortenLine(reasonOf(error), REASON_MAX) });
    }
  }
  const replayed = ids.length - refused.length;
  const left = matching - ids.length;
  if (replayed > 0) {
    const detail = `${replayed} replayed, ${refused.length} refused, ${left} left of ${filterText(ctx.params)}`;
    await postgres.transact((trx) => audit(outbox, trx, ctx, subject, detail));
  }
  // The next call begins after the last one that was tried, so that a refused one is not tried for ever.
  const nextCursor = limit === 0 ? lastId : left > 0 ? (ids.at(-1) ?? cursor) : lastId;
  return { replayed, refused, left, ...(nextCursor !== undefined && { nextCursor }) };
}

async function matchingDeadLetters(
  db: Db,
  table: DeadLetterTable,
  filter: DeadLetterReplay,
  limit: number,
): Promise<{ ids: string[]; matching: number; lastId?: string }> {
  const { id, dead } = table;
  const { cursor } = filter;
  const matches = conditionsOf(table, filter);
  const [found] = await rowsPlannedAnew<{ ids: string[]; matching: number; lastId?: string }>(
    db,
    `WITH examined AS MATERIALIZED (
       SELECT ${id} AS id, ${matches.map(([sql]) => sql).join(" AND ") || "true"} AS matches
       FROM ${table.table} WHERE ${dead} ${cursor === undefined ? "" : `AND ${id} > ?`}
       ORDER BY ${id} LIMIT ${DROP_SCANNED_MAX})
     SELECT ARRAY(SELECT id FROM examined WHERE matches ORDER BY id LIMIT ?) AS ids,
       (SELECT count(*)::integer FROM examined WHERE matches) AS matching,
       (SELECT id FROM examined ORDER BY id OFFSET ${DROP_SCANNED_MAX - 1}) AS last_id`,
    [...matches.map(([, value]) => value), ...(cursor === undefined ? [] : [cursor]), limit],
  );
  return found ?? { ids: [], matching: 0 };
}

/** The combined result of two tables. The next call starts at the lower of their cursors. */
export function replayedTogether(
  one: DeadLetterReplayResult,
  other: DeadLetterReplayResult,
): DeadLetterReplayResult {
  const [nextCursor] = [one.nextCursor, other.nextCursor].filter((cursor) => cursor !== undefined).sort();
  return {
    replayed: one.replayed + other.replayed,
    refused: [...one.refused, ...other.refused],
    left: one.left + other.left,
    ...(nextCursor !== undefined && { nextCursor }),
  };
}

/** The schema checks only the form, which also fits February 30. @throws VALIDATION_ERROR for a time that does not exist */
function momentIn(before: string): string {
  const ms = momentOf(before);
  if (ms === undefined) throw invalidField("before", "time", "This is no moment in time.");
  return isoTime(ms);
}

/**
 * One statement reads at most DROP_SCANNED_MAX dead rows in the order of their index and compares each with the filter.
 * The state is checked again under the lock.
 */
export async function dropMatching(
  db: Db,
  table: DeadLetterTable,
  drop: DeadLetterDrop,
): Promise<DeadLetterDropResult> {
  const { id, dead } = table;
  const { cursor, limit = DROP_MAX } = drop;
  const matches = conditionsOf(table, drop);
  const [found] = await rowsPlannedAnew<{ dropped: number; matching: number; lastId?: string }>(
    db,
    `WITH examined AS MATERIALIZED (
       SELECT ${id} AS id, ${matches.map(([sql]) => sql).join(" AND ") || "true"} AS matches
       FROM ${table.table} WHERE ${dead} ${cursor === undefined ? "" : `AND ${id} > ?`}
       ORDER BY ${id} LIMIT ${DROP_SCANNED_MAX}),
     locked AS (
       SELECT ctid FROM ${table.table}
       WHERE ${dead} AND ${id} = ANY (ARRAY(SELECT id FROM examined WHERE matches ORDER BY id LIMIT ?))
       FOR UPDATE SKIP LOCKED),
     dropped AS (
       UPDATE ${table.table} SET state = '${table.dropped}', updated_at = now()
       WHERE ctid = ANY (ARRAY(SELECT ctid FROM locked)) RETURNING 1)
     SELECT (SELECT count(*)::integer FROM dropped) AS dropped,
       (SELECT count(*)::integer FROM examined WHERE matches) AS matching,
       (SELECT id FROM examined ORDER BY id OFFSET ${DROP_SCANNED_MAX - 1}) AS last_id`,
    [...matches.map(([, value]) => value), ...(cursor === undefined ? [] : [cursor]), limit],
  );
  const { dropped = 0, matching = 0, lastId } = found ?? {};
  return resultOf(drop, { dropped, left: matching - dropped }, lastId);
}

/** @param lastId the last examined id, when there may be rows after it */
function resultOf(
  { limit }: DeadLetterDrop,
  counts: { dropped: number; left: number },
  lastId: string | undefined,
): DeadLetterDropResult {
  const hasMore = lastId !== undefined && (counts.left === 0 || limit === 0);
  return { ...counts, ...(hasMore && { nextCursor: lastId }) };
}

/**
 * The combined result of two tables. Each was examined up to a cursor of its own; the next call starts at the lower one.
 */
export function together(
  drop: DeadLetterDrop,
  one: DeadLetterDropResult,
  other: DeadLetterDropResult,
): DeadLetterDropResult {
  const [lesser] = [one.nextCursor, other.nextCursor].filter((cursor) => cursor !== undefined).sort();
  return resultOf(drop, { dropped: one.dropped + other.dropped, left: one.left + other.left }, lesser);
}

function conditionsOf(
  table: DeadLetterTable,
  drop: Omit<DeadLetterDrop, "limit">,
): [sql: string, value: string][] {
  const { consumer, type, partnerId, reason, before } = drop;
  const all: [sql: string, value: string | undefined][] = [
    [`${table.consumer} = ?`, consumer],
    [`${table.type} = ?`, type],
    [`${table.partnerId} = ?`, partnerId],
    [`strpos(${table.error}, ?) > 0`, reason],
    ["updated_at < ?", before],
  ];
  return all.flatMap(([sql, value]) => (value === undefined ? [] : [[sql, value]]));
}

function filterText({ consumer, type, partnerId, reason, before }: Omit<DeadLetterDrop, "limit">): string {
  const given = Object.entries({ consumer, type, partnerId, reason, before });
  const texts = given.flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]));
  return texts.join(", ") || "all";
}
