import { jittered } from "../../../lib/backoff.ts";

/** Something to prepare, something to know, or a test that the partner asked for. */
export type Urgency = "preparation" | "information" | "test";

const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;

/**
 * The waits before each try. An order to prepare has ten within the ten minutes in which it must be accepted,
 * also when each of them runs into its timeout (331 s of waits, 100 s of timeouts); news have those that the
 * Standard Webhooks specification recommends.
 */
const waitsMs: Record<Urgency, readonly number[]> = {
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
/** Chance shortens a wait by up to this share, so that partners that failed together are not called together. */
const JITTER: Record<Urgency, number> = { preparation: 0.3, information: 0.1, test: 0 };
const MAX_RETRY_AFTER_MS = 24 * HOUR_MS;
/** How long one try may take. */
export const TRY_TIMEOUT_MS = 10_000;

export interface FailedTry {
  urgency: Urgency;
  /** 1 for the first. */
  attempt: number;
  /** How long the partner asked us to wait. */
  retryAfterMs?: number | undefined;
  /** Until the moment after which no try makes sense; absent without one. */
  remainingMs?: number | undefined;
}

/**
 * How long to wait before the next try; undefined when there is none. A partner that asks for more time gets what the
 * schedule has to spare: every try that is left can still be made before the deadline, each with its whole time limit.
 * @param random from 0 to 1
 */
export function nextTryMs(failed: FailedTry, random: number): number | undefined {
  const { urgency, attempt, retryAfterMs = 0, remainingMs = Number.POSITIVE_INFINITY } = failed;
  const waits = waitsMs[urgency];
  const waitMs = waits[attempt];
  if (waitMs === undefined) return undefined;
  const scheduledMs = Math.round(jittered(waitMs, JITTER[urgency], random));
  const laterWaitsMs = waits.slice(attempt + 1).reduce((sum, each) => sum + each, 0);
  const spareMs = remainingMs - laterWaitsMs - (waits.length - attempt) * TRY_TIMEOUT_MS;
  const delayMs = Math.max(scheduledMs, Math.min(retryAfterMs, MAX_RETRY_AFTER_MS, spareMs));
  return delayMs <= remainingMs ? delayMs : undefined;
}

/**
 * How long a Retry-After asks to wait: seconds or a date (RFC 9110, section 10.2.3); undefined for anything else.
 */
export function retryAfterMs(header: string | undefined, nowMs: number): number | undefined {
  if (header === undefined) return undefined;
  if (/^\d{1,9}$/.test(header)) return Number(header) * SECOND_MS;
  const atMs = /^[A-Z][a-z]{2}, /.test(header) ? Date.parse(header) : Number.NaN;
  return Number.isNaN(atMs) ? undefined : Math.max(0, atMs - nowMs);
}
