import { jittered } from "../../../lib/backoff.ts";

/** `preparation`: a new order. `information`: a change of a known order. `test`: requested by the partner. */
export type Urgency = "preparation" | "information" | "test";

const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;

/**
 * The delay before each attempt. A preparation webhook has ten attempts within the partner's time to accept, also when
 * each one times out (331 s of delays, 100 s of timeouts); in less than ten minutes the delays are shorter. Information webhooks use the delays that the
 * Standard Webhooks specification recommends.
 */
const delaysMs: Record<Urgency, readonly number[]> = {
  preparation: [0, 1, 2, 4, 8, 16, 30, 60, 90, 120].map((seconds) => seconds * SECOND_MS),
  information: [
    0,
    5 * SECOND_MS,
    5 * MINUTE_MS,
    30 * MINUTE_MS,
    ...[2, 5, 10, 14, 20, 24].map((hours) => hours * HOUR_MS),
  ],
  test: [0],
};
/** Random jitter shortens a delay by up to this share, so that partners that failed together are not retried together. */
const JITTER: Record<Urgency, number> = { preparation: 0.3, information: 0.1, test: 0 };
const MAX_RETRY_AFTER_MS = 24 * HOUR_MS;
/** Time limit of one attempt. */
export const ATTEMPT_TIMEOUT_MS = 10_000;

export interface FailedAttempt {
  urgency: Urgency;
  /** 1 for the first. */
  attempt: number;
  /** The delay from the partner's Retry-After header. */
  retryAfterMs?: number | undefined;
  /** Time until the deadline of the webhook; absent without a deadline. */
  remainingMs?: number | undefined;
}

/**
 * The delay before the next attempt; undefined when there is none. Delays are shortened so that all attempts fit before
 * the deadline. A Retry-After prolongs the delay only so far that every
 * remaining attempt can still be made before the deadline with its whole time limit.
 * @param random from 0 to 1
 */
export function nextAttemptDelayMs(failed: FailedAttempt, random: number): number | undefined {
  const { urgency, attempt, retryAfterMs = 0, remainingMs = Number.POSITIVE_INFINITY } = failed;
  const delays = delaysMs[urgency];
  const baseMs = delays[attempt];
  if (baseMs === undefined) return undefined;
  const laterDelaysMs = delays.slice(attempt + 1).reduce((sum, each) => sum + each, 0);
  const waitingMs = remainingMs - (delays.length - attempt) * ATTEMPT_TIMEOUT_MS;
  const share = Math.min(1, Math.max(0, waitingMs) / (baseMs + laterDelaysMs));
  const scheduledMs = Math.round(jittered(baseMs * share, JITTER[urgency], random));
  const spareMs = waitingMs - laterDelaysMs * share;
  const delayMs = Math.max(scheduledMs, Math.min(retryAfterMs, MAX_RETRY_AFTER_MS, spareMs));
  return delayMs <= remainingMs ? delayMs : undefined;
}

/**
 * Parses Retry-After, as seconds or a date (RFC 9110, section 10.2.3); undefined for an invalid value.
 */
export function retryAfterMs(header: string | undefined, nowMs: number): number | undefined {
  if (header === undefined) return undefined;
  if (/^\d{1,9}$/.test(header)) return Number(header) * SECOND_MS;
  const atMs = /^[A-Z][a-z]{2}, /.test(header) ? Date.parse(header) : Number.NaN;
  return Number.isNaN(atMs) ? undefined : Math.max(0, atMs - nowMs);
}
