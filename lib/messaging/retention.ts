const DAY_MS = 86_400_000;

/** How long a message that was handed over stays in the outbox, for operators and for a repeated hand-over. */
export const OUTBOX_RETENTION_MS = 7 * DAY_MS;
/** How long the inbox remembers what it has handled. */
export const INBOX_RETENTION_MS = 14 * DAY_MS;
/** How much earlier than it forgets an inbox stops to accept what it may have forgotten. */
export const INBOX_MARGIN_MS = DAY_MS;

/**
 * An outbox that could repeat a message after the inbox forgot it would make its effect happen twice.
 * @throws Error when the inbox does not outlast the outbox by more than the margin
 */
export function assertRetention(outboxMs: number, inboxMs: number): void {
  if (inboxMs - INBOX_MARGIN_MS > outboxMs) return;
  throw new Error(
    `the inbox remembers ${inboxMs / DAY_MS} days, the outbox repeats for ${outboxMs / DAY_MS}: the inbox must outlast it by more than a day`,
  );
}
