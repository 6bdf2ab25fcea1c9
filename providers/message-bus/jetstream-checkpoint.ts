import type { StreamInfo } from "nats";

/** How much the clocks of the server and of this process may differ. */
const CLOCK_SKEW_MS = 60_000;

/** The state of the stream that an outbox saves. A later comparison shows whether the stream lost messages. */
export interface StreamCheckpoint {
  /** Creation time of the stream. */
  created: string;
  lastSeq: number;
  /** Time of the newest message, in milliseconds of Unix time; 0 when there was none. */
  lastMs: number;
  /** How many messages were deleted between the first and the last. */
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
 * Why messages that the stream had at the checkpoint `before` are missing although they have not expired; undefined
 * when none is missing.
 */
export function lossSince(before: StreamCheckpoint, info: StreamInfo, nowMs: number): string | undefined {
  const now = checkpointOf(info);
  const maxAgeMs = info.config.max_age / 1_000_000;
  if (now.created !== before.created) return "the stream was created again";
  if (now.lastSeq < before.lastSeq) return `the stream went back from ${before.lastSeq} to ${now.lastSeq}`;
  if (now.deleted > before.deleted) return "messages were deleted from the stream";
  const notExpired = before.lastMs + maxAgeMs > nowMs + CLOCK_SKEW_MS;
  if (before.lastSeq > 0 && notExpired && info.state.first_seq > before.lastSeq)
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
