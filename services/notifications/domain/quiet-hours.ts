import type { Preferences, QuietHours } from "../../../contracts/notifications.ts";
import { isTimeZone, localDateTime, offsetMs } from "../../../lib/time-zone.ts";

const MINUTE_MS = 60_000;
const MINUTES_A_DAY = 1_440;

/** @returns the problem of these quiet hours, undefined when they are valid */
export function quietHoursProblem(quiet: QuietHours): { field: string; message: string } | undefined {
  if (!isTimeZone(quiet.timeZone)) {
    return { field: "quietHours.timeZone", message: "This time zone is not known." };
  }
  if (quiet.fromMinute !== quiet.untilMinute) return undefined;
  const message = "Must not be the minute that they begin at: whoever wants no news at all turns them off.";
  return { field: "quietHours.untilMinute", message };
}

/**
 * The first moment at which the user's local time is no longer within the quiet hours. Only local time counts: an hour
 * that happens twice is quiet twice, and an hour that the clock skips does not extend the quiet hours.
 * @param atMs Unix time in milliseconds
 * @returns Unix time in milliseconds; undefined when `atMs` is outside of the quiet hours
 */
export function quietUntil(quiet: QuietHours, atMs: number): number | undefined {
  if (!isQuiet(quiet, atMs)) return undefined;
  const from = Math.floor(atMs / MINUTE_MS) * MINUTE_MS;
  const end = endWithoutShift(quiet, from);
  const shift = nextShift(quiet.timeZone, from, end);
  if (shift === undefined) return end;
  // No time zone shifts twice within a day, so after the shift the end needs no further correction.
  return isQuiet(quiet, shift) ? endWithoutShift(quiet, shift) : shift;
}

/** Until when a notification for a user with these preferences is deferred; undefined when it may be sent now. */
export function deferredUntil({ push, email, quietHours }: Preferences, atMs: number): number | undefined {
  // With both channels turned off nothing is sent, so nothing is deferred.
  return quietHours && (push || email) ? quietUntil(quietHours, atMs) : undefined;
}

function isQuiet({ fromMinute, untilMinute, timeZone }: QuietHours, atMs: number): boolean {
  const { minute } = localDateTime(timeZone, atMs);
  return fromMinute < untilMinute
    ? fromMinute <= minute && minute < untilMinute
    : fromMinute <= minute || minute < untilMinute;
}

function endWithoutShift({ untilMinute, timeZone }: QuietHours, fromMs: number): number {
  const { minute } = localDateTime(timeZone, fromMs);
  return fromMs + ((untilMinute - minute + MINUTES_A_DAY) % MINUTES_A_DAY) * MINUTE_MS;
}

/** The first minute with another UTC offset than at `fromMs`; undefined when it is the same at `untilMs`. */
function nextShift(timeZone: string, fromMs: number, untilMs: number): number | undefined {
  const offset = offsetMs(timeZone, fromMs);
  if (offsetMs(timeZone, untilMs) === offset) return undefined;
  let [before, after] = [fromMs, untilMs];
  while (after - before > MINUTE_MS) {
    const middle = before + Math.floor((after - before) / MINUTE_MS / 2) * MINUTE_MS;
    if (offsetMs(timeZone, middle) === offset) before = middle;
    else after = middle;
  }
  return after;
}
