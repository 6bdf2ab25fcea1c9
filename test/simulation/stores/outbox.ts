import type { Message } from "../../../contracts/messages.ts";
import type * as real from "../../../mixins/outbox/outbox.repository.ts";
import { statement } from "../memory.ts";
import type { View } from "../view.ts";

export * from "../../../mixins/outbox/outbox.repository.ts";

export interface OutboxRecord {
  message: Message;
  attempts: number;
  nextAtMs: number;
  sentAtMs?: number;
  error?: string;
}

/** @param rows the messages, as `messageRows` writes them */
export function insertRows(view: View, rows: string): void {
  for (const message of JSON.parse(rows) as Message[]) {
    view.insert("outbox", message.id, { message, attempts: 0, nextAtMs: view.nowMs });
  }
}

export const insertMessages: typeof real.insertMessages = async (trx, messages) => {
  await statement(trx, (view) => insertRows(view, JSON.stringify(messages)));
};

export const dueMessages: typeof real.dueMessages = (db) =>
  statement(db, (view) => {
    const due = view.all<OutboxRecord>("outbox").filter(([, one]) => isDue(one, view.nowMs));
    return {
      fresh: due.some(([, { attempts }]) => attempts === 0),
      retried: due.some(([, { attempts }]) => attempts > 0),
    };
  });

export const claimMessages: typeof real.claimMessages = (trx, retried, limit) =>
  statement(trx, (view) =>
    view
      .all<OutboxRecord>("outbox")
      .filter(([, one]) => isDue(one, view.nowMs) && one.attempts > 0 === retried)
      .sort(([, a], [, b]) => a.nextAtMs - b.nextAtMs)
      .filter(([id]) => view.lockedNow("outbox", id) !== undefined)
      .slice(0, limit)
      .map(([, { message, attempts }]) => ({ message, attempts })),
  );

export const markSent: typeof real.markSent = async (trx, ids) => {
  await statement(trx, (view) => {
    for (const id of ids) {
      const { error: _, ...one } = view.locked<OutboxRecord>("outbox", id) as OutboxRecord;
      view.update("outbox", id, { ...one, sentAtMs: view.nowMs });
    }
  });
};

export const markFailed: typeof real.markFailed = async (trx, failures, error) => {
  await statement(trx, (view) => {
    for (const { id, delayMs } of failures) {
      const one = view.locked<OutboxRecord>("outbox", id) as OutboxRecord;
      view.update("outbox", id, {
        ...one,
        error,
        attempts: one.attempts + 1,
        nextAtMs: view.clockMs + delayMs,
      });
    }
  });
};

export const pruneOutbox: typeof real.pruneOutbox = async () => 0;

function isDue({ sentAtMs, nextAtMs }: OutboxRecord, nowMs: number): boolean {
  return sentAtMs === undefined && nextAtMs <= nowMs;
}
