import type * as real from "../../../mixins/outbox/replay.repository.ts";
import { statement } from "../memory.ts";
import type { View } from "../view.ts";
import type { OutboxRecord } from "./outbox.ts";

export * from "../../../mixins/outbox/replay.repository.ts";

interface MarkRecord {
  mark: string;
  again?: { sinceMs: number; untilMs: number; below: string } | undefined;
}

const [TABLE, KEY] = ["carrier_marks", "carrier"];
const HIGHEST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff";

export const findCheckpoint: typeof real.findCheckpoint = (db) =>
  statement(db, (view) => view.get<MarkRecord>(TABLE, KEY)?.mark);

export const saveCheckpoint: typeof real.saveCheckpoint = (trx, next, seen, lookbackMs) =>
  statement(trx, (view) => {
    const begun = lookbackMs === undefined ? undefined : again(view, lookbackMs);
    if (view.insert(TABLE, KEY, { mark: next, again: begun })) return true;
    const known = view.locked<MarkRecord>(TABLE, KEY);
    if (!known || known.mark !== seen) return false;
    const sinceMs = Math.min(known.again?.sinceMs ?? Number.POSITIVE_INFINITY, begun?.sinceMs ?? 0);
    view.update(TABLE, KEY, { mark: next, again: begun ? { ...begun, sinceMs } : known.again });
    return true;
  });

export const isReplaying: typeof real.isReplaying = (db) =>
  statement(db, (view) => view.get<MarkRecord>(TABLE, KEY)?.again !== undefined);

export const claimReplay: typeof real.claimReplay = (trx) =>
  statement(trx, (view) => {
    if (!view.get<MarkRecord>(TABLE, KEY)?.again) return undefined;
    const known = view.lockedNow<MarkRecord>(TABLE, KEY)?.again;
    return known && { since: String(known.sinceMs), until: String(known.untilMs), below: known.below };
  });

export const replayedMessages: typeof real.replayedMessages = (trx, { since, until, below }, limit) =>
  statement(trx, (view) =>
    view
      .all<OutboxRecord>("outbox")
      .flatMap(([id, { sentAtMs, message }]) => (sentAtMs === undefined ? [] : [{ id, sentAtMs, message }]))
      .filter(({ id, sentAtMs }) => {
        const untilMs = Number(until);
        return sentAtMs >= Number(since) && (sentAtMs < untilMs || (sentAtMs === untilMs && id < below));
      })
      .sort((a, b) => b.sentAtMs - a.sentAtMs || (a.id < b.id ? 1 : -1))
      .slice(0, limit)
      .map(({ sentAtMs, message }) => ({ message, sentAt: String(sentAtMs) })),
  );

export const advanceReplay: typeof real.advanceReplay = async (trx, until, below) => {
  await statement(trx, (view) => {
    const known = view.locked<MarkRecord>(TABLE, KEY);
    if (!known?.again) return;
    view.update(TABLE, KEY, { ...known, again: { ...known.again, untilMs: Number(until), below } });
  });
};

export const endReplay: typeof real.endReplay = async (trx) => {
  await statement(trx, (view) => {
    const known = view.locked<MarkRecord>(TABLE, KEY);
    if (known) view.update(TABLE, KEY, { ...known, again: undefined });
  });
};

function again(view: View, lookbackMs: number) {
  const sent = view.all<OutboxRecord>("outbox").flatMap(([, { sentAtMs }]) => sentAtMs ?? []);
  const last = sent.length > 0 ? Math.max(...sent) : view.nowMs;
  return { sinceMs: last - lookbackMs, untilMs: view.clockMs, below: HIGHEST_ID };
}
