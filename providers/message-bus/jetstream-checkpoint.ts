import type { StreamInfo } from "nats";

/** How much the clocks of the server and of this process may differ. */
const CLOCKS_MS = 60_000;

/** What an outbox notes about the stream, to see later whether something that was in it has gone. */
export interface StreamCheckpoint {
  /** When the stream was made. */
  created: string;
  lastSeq: number;
  /** When its newest message came, in Unix time; 0 while there was none. */
  lastMs: number;
  /** Messages that were taken out of its middle. */
  deleted: number;
}

export function checkpointOf({ created, state }: StreamInfo): StreamCheckpoint {
  return {
    created: String(created),
    lastSeq: state.last_seq,
    lastMs: state.last_seq === 0 ? 0 : Math.max(0, Date.parse(String(state.last_ts)) || 0),
    deleted: state.num_deleted ?? 0,
  };
}

/**
 * Why messages that were in the stream when `before` was noted are no longer there although they are not old
 * enough to go; undefined when all is well.
 */
export function lossSince(before: StreamCheckpoint, info: StreamInfo, nowMs: number): string | undefined {
  const now = checkpointOf(info);
  const maxAgeMs = info.config.max_age / 1_000_000;
  if (now.created !== before.created) return "the stream was made anew";
  if (now.lastSeq < before.lastSeq) return `the stream went back from ${before.lastSeq} to ${now.lastSeq}`;
  if (now.deleted > before.deleted) return "messages were deleted from the stream";
  const tooYoungToGo = before.lastMs + maxAgeMs > nowMs + CLOCKS_MS;
  if (before.lastSeq > 0 && tooYoungToGo && info.state.first_seq > before.lastSeq)
    return "the stream was purged";
  return undefined;
}

export function parseCheckpoint(text: string | undefined): StreamCheckpoint | undefined {
  if (text === undefined) return undefined;
  try {
    const { created, lastSeq, lastMs, deleted } = JSON.parse(text) as StreamCheckpoint;
    if (typeof created !== "string" || ![lastSeq, lastMs, deleted].every(Number.isFinite)) return undefined;
    return { created, lastSeq, lastMs, deleted };
  } catch {
    return undefined;
  }
}
