import type { Knex } from "knex";
import {
  type DeadLetterDrop,
  type DeadLetterDropResult,
  DROP_MAX,
  DROP_SCANNED_MAX,
} from "../../contracts/dead-letters.ts";
import { invalidField } from "../../contracts/errors.ts";
import type { Ctx } from "../../contracts/meta.ts";
import { isoTime, momentOf } from "../../lib/clock.ts";
import { type Db, rowsPlannedAnew } from "../../lib/sql/database.ts";
import { audit } from "../outbox/audit.ts";
import type { Outbox } from "../outbox/outbox.mixin.ts";
import type { Postgres } from "../postgres/postgres.mixin.ts";

/** A table with dead letters, in the terms of SQL. */
export interface DeadLetterTable {
  table: string;
  /** A UUIDv7 with an index of the dead rows. */
  id: string;
  /** The condition of that index: given up, and not to be delivered any more. */
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
 * Drops dead letters that match, the oldest first, and records the filter and the number in the audit log. A row that is
 * being replayed or dropped meanwhile is left out: it still counts as left.
 * @param subject what the audit log names as acted on
 * @throws VALIDATION_ERROR for a `before` that has the form of a time and is none
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
  return await postgres.transact(async (trx: Knex.Transaction) => {
    const done = await dropMatching(trx, table, drop);
    const { dropped, left } = done;
    if (dropped > 0) {
      await audit(outbox, trx, ctx, subject, `${dropped} dropped, ${left} left of ${filterText(ctx.params)}`);
    }
    return done;
  });
}

/** The time as PostgreSQL takes it: the form alone also fits the 30th of February. @throws VALIDATION_ERROR */
function momentIn(before: string): string {
  const ms = momentOf(before);
  if (ms === undefined) throw invalidField("before", "time", "This is no moment in time.");
  return isoTime(ms);
}

/**
 * One statement reads dead rows only, and so many at most: their index orders them, and each is compared with the
 * filter. The state is asked for once more under the lock.
 */
export async function dropMatching(
  db: Db,
  table: DeadLetterTable,
  drop: DeadLetterDrop,
): Promise<DeadLetterDropResult> {
  const { id, dead } = table;
  const { cursor, limit = DROP_MAX } = drop;
  const wanted = conditionsOf(table, drop);
  const [found] = await rowsPlannedAnew<{ dropped: number; matching: number; lastId?: string }>(
    db,
    `WITH looked_at AS MATERIALIZED (
       SELECT ${id} AS id, ${wanted.map(([sql]) => sql).join(" AND ") || "true"} AS wanted
       FROM ${table.table} WHERE ${dead} ${cursor === undefined ? "" : `AND ${id} > ?`}
       ORDER BY ${id} LIMIT ${DROP_SCANNED_MAX}),
     taken AS (
       SELECT ctid FROM ${table.table}
       WHERE ${dead} AND ${id} = ANY (ARRAY(SELECT id FROM looked_at WHERE wanted ORDER BY id LIMIT ?))
       FOR UPDATE SKIP LOCKED),
     dropped AS (
       UPDATE ${table.table} SET state = '${table.dropped}', updated_at = now()
       WHERE ctid = ANY (ARRAY(SELECT ctid FROM taken)) RETURNING 1)
     SELECT (SELECT count(*)::integer FROM dropped) AS dropped,
       (SELECT count(*)::integer FROM looked_at WHERE wanted) AS matching,
       (SELECT id FROM looked_at ORDER BY id OFFSET ${DROP_SCANNED_MAX - 1}) AS last_id`,
    [...wanted.map(([, value]) => value), ...(cursor === undefined ? [] : [cursor]), limit],
  );
  const { dropped = 0, matching = 0, lastId } = found ?? {};
  return answer(drop, { dropped, left: matching - dropped }, lastId);
}

/** @param lastId the last id that was looked at, where there may be more behind it */
function answer(
  { limit }: DeadLetterDrop,
  counts: { dropped: number; left: number },
  lastId: string | undefined,
): DeadLetterDropResult {
  const goesOn = lastId !== undefined && (counts.left === 0 || limit === 0);
  return { ...counts, ...(goesOn && { nextCursor: lastId }) };
}

/**
 * The answer about two tables. Each was looked at up to its own cursor, so the next call goes on at the lesser one.
 */
export function together(
  drop: DeadLetterDrop,
  one: DeadLetterDropResult,
  other: DeadLetterDropResult,
): DeadLetterDropResult {
  const [lesser] = [one.nextCursor, other.nextCursor].filter((cursor) => cursor !== undefined).sort();
  return answer(drop, { dropped: one.dropped + other.dropped, left: one.left + other.left }, lesser);
}

function conditionsOf(table: DeadLetterTable, drop: DeadLetterDrop): [sql: string, value: string][] {
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

function filterText({ consumer, type, partnerId, reason, before }: DeadLetterDrop): string {
  const given = Object.entries({ consumer, type, partnerId, reason, before });
  const texts = given.flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]));
  return texts.join(", ") || "all";
}
