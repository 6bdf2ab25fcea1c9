import type { Message } from "../../contracts/messages.ts";
import { affected, type Db, row, rows } from "../../lib/sql/database.ts";

/** The key of the only row: an outbox has one message bus. The table was named when that was called a carrier. */
const CARRIER = "carrier";
/** Above every id. */
const HIGHEST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff";

export async function findCheckpoint(db: Db): Promise<string | undefined> {
  const found = await row<{ mark: string }>(db, "SELECT mark FROM carrier_marks WHERE carrier = ?", [
    CARRIER,
  ]);
  return found?.mark;
}

/**
 * Replaces the checkpoint `seen` by `next`. With `lookbackMs` it also requests a replay of the messages that were sent
 * within this time before the last one. A running replay starts again.
 * @param seen undefined: there must be no checkpoint
 * @param lookbackMs Infinity: all messages
 * @returns false when the checkpoint is not `seen`
 */
export async function saveCheckpoint(
  trx: Db,
  next: string,
  seen: string | undefined,
  lookbackMs: number | undefined,
): Promise<boolean> {
  const since = Number.isFinite(lookbackMs)
    ? "(SELECT coalesce(max(sent_at), now()) FROM outbox WHERE sent_at IS NOT NULL) - ? * interval '1 millisecond'"
    : "'-infinity'::timestamptz";
  const again =
    lookbackMs === undefined
      ? { columns: "", values: "", update: "" }
      : {
          columns: ", again_since, again_until, again_below",
          values: `, ${since}, clock_timestamp(), '${HIGHEST_ID}'::uuid`,
          update: `, again_since = least(m.again_since, EXCLUDED.again_since),
            again_until = EXCLUDED.again_until, again_below = EXCLUDED.again_below`,
        };
  const count = await affected(
    trx,
    `INSERT INTO carrier_marks AS m (carrier, mark${again.columns})
     VALUES (?, ?${again.values})
     ON CONFLICT (carrier) DO UPDATE SET mark = EXCLUDED.mark, updated_at = now()${again.update}
     WHERE m.mark = ?`,
    [CARRIER, next, ...(Number.isFinite(lookbackMs) ? [lookbackMs as number] : []), seen ?? ""],
  );
  return count === 1;
}

/** Whether a replay was requested and has not ended. */
export async function isReplaying(db: Db): Promise<boolean> {
  const found = await row(
    db,
    "SELECT 1 AS replaying FROM carrier_marks WHERE carrier = ? AND again_until IS NOT NULL",
    [CARRIER],
  );
  return found !== undefined;
}

export interface Replay {
  since: string;
  until: string;
  below: string;
}

/** Locks the replay until the transaction ends. Returns undefined when there is none, or another replica has locked it. */
export async function claimReplay(trx: Db): Promise<Replay | undefined> {
  // As text, since a Date would cut the microseconds off.
  return row<Replay>(
    trx,
    `SELECT again_since::text AS since, again_until::text AS until, again_below AS below FROM carrier_marks
     WHERE carrier = ? AND again_until IS NOT NULL FOR UPDATE SKIP LOCKED`,
    [CARRIER],
  );
}

/** The next messages of a replay, the newest first. */
export async function replayedMessages(
  trx: Db,
  { since, until, below }: Replay,
  limit: number,
): Promise<{ message: Message; sentAt: string }[]> {
  const found = await rows<Omit<Message, "specversion"> & { handedAt: string }>(
    trx,
    `SELECT id, source, type, subject, time, dataschema, traceparent, data, sent_at::text AS handed_at
     FROM outbox
     WHERE sent_at IS NOT NULL AND sent_at >= ?::timestamptz AND (sent_at, id) < (?::timestamptz, ?::uuid)
     ORDER BY sent_at DESC, id DESC
     LIMIT ?`,
    [since, until, below, limit],
  );
  return found.map(({ handedAt, ...rest }) => ({
    sentAt: handedAt,
    message: { specversion: "1.0", ...rest },
  }));
}

/**
 * Whether the rest of a replay is recent: it covers at most `recentMs` (from `newest` back to `since`), or `newest` was
 * sent within `recentMs` before the last sent message.
 */
export async function isRecent(trx: Db, newest: string, since: string, recentMs: number): Promise<boolean> {
  const found = await row<{ recent: boolean }>(
    trx,
    `SELECT newest <= since + recent OR newest >= (SELECT max(sent_at) FROM outbox) - recent AS recent
     FROM (VALUES (?::timestamptz, ?::timestamptz, ? * interval '1 millisecond')) AS asked (newest, since, recent)`,
    [newest, since, recentMs],
  );
  return found?.recent === true;
}

/** Saves the position of a replay: this message and all newer ones were published. */
export async function advanceReplay(trx: Db, until: string, below: string): Promise<void> {
  await affected(
    trx,
    `UPDATE carrier_marks SET again_until = ?::timestamptz, again_below = ?, updated_at = now()
     WHERE carrier = ?`,
    [until, below, CARRIER],
  );
}

export async function endReplay(trx: Db): Promise<void> {
  await affected(
    trx,
    `UPDATE carrier_marks SET again_since = NULL, again_until = NULL, again_below = NULL, updated_at = now()
     WHERE carrier = ?`,
    [CARRIER],
  );
}
