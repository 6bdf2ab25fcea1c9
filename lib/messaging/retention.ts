const DAY_MS = 86_400_000;

/** How long a sent message stays in the outbox, for operators and for a replay. */
export const OUTBOX_RETENTION_MS = 7 * DAY_MS;
/** How long the inbox keeps the ids of handled messages. */
export const INBOX_RETENTION_MS = 14 * DAY_MS;
/** The inbox refuses messages that are older than its retention minus this margin: their ids may be pruned already. */
export const INBOX_MARGIN_MS = DAY_MS;

/**
 * An outbox that repeats a message after the inbox has pruned its id would cause the effect twice.
 * @throws Error when the retention of the inbox is not longer than that of the outbox plus the margin
 */
export function assertRetention(outboxMs: number, inboxMs: number): void {
  if (inboxMs - INBOX_MARGIN_MS > outboxMs) return;
  throw new Error(
    `the inbox keeps ids for ${inboxMs / DAY_MS} days, the outbox may repeat messages for ${outboxMs / DAY_MS}: the inbox needs more than a day longer`,
  );
}
