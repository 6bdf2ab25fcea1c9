import type { Preferences, QuietHours } from "../../../contracts/notifications.ts";
import { isTimeZone, localDateTime, offsetMs } from "../../../lib/time-zone.ts";

const MINUTE_MS = 60_000;
const MINUTES_A_DAY = 1_440;

/** What is wrong with the quiet hours that somebody wants to have; undefined when nothing is. */
export function quietHoursProblem(quiet: QuietHours): { field: string; message: string } | undefined {
  if (!isTimeZone(quiet.timeZone)) {
    return { field: "quietHours.timeZone", message: "This time zone is not known." };
  }
  if (quiet.fromMinute !== quiet.untilMinute) return undefined;
  const message = "Must not be the minute that they begin at: whoever wants no news at all turns them off.";
  return { field: "quietHours.untilMinute", message };
}

/**
 * The first moment at which the clock on somebody's wall no longer stands within their quiet hours; undefined when
 * it does not stand there now. The wall alone decides: an hour that happens twice is quiet twice, one that the clock
 * jumps over is not waited for.
 * @param atMs milliseconds of Unix time; as is the answer
 */
export function quietUntil(quiet: QuietHours, atMs: number): number | undefined {
  if (!isQuiet(quiet, atMs)) return undefined;
  const from = Math.floor(atMs / MINUTE_MS) * MINUTE_MS;
  const end = endAsIfUnshifted(quiet, from);
  const shift = nextShift(quiet.timeZone, from, end);
  if (shift === undefined) return end;
  // No clock is shifted twice within a day, so behind the shift the end is what it seems to be.
  return isQuiet(quiet, shift) ? endAsIfUnshifted(quiet, shift) : shift;
}

/** Until when somebody with these wishes is not to be disturbed; undefined when that may be now. */
export function deferredUntil({ push, email, quietHours }: Preferences, atMs: number): number | undefined {
  // Who wants neither is disturbed by neither.
  return quietHours && (push || email) ? quietUntil(quietHours, atMs) : undefined;
}

function isQuiet({ fromMinute, untilMinute, timeZone }: QuietHours, atMs: number): boolean {
  const { minute } = localDateTime(timeZone, atMs);
  return fromMinute < untilMinute
    ? fromMinute <= minute && minute < untilMinute
    : fromMinute <= minute || minute < untilMinute;
}

function endAsIfUnshifted({ untilMinute, timeZone }: QuietHours, fromMs: number): number {
  const { minute } = localDateTime(timeZone, fromMs);
  return fromMs + ((untilMinute - minute + MINUTES_A_DAY) % MINUTES_A_DAY) * MINUTE_MS;
}

/** The first minute at which the clock goes otherwise than at `fromMs`, if it does so by `untilMs`. */
function nextShift(timeZone: string, fromMs: number, untilMs: number): number | undefined {
  const offset = offsetMs(timeZone, fromMs);
  if (offsetMs(timeZone, untilMs) === offset) return undefined;
  let [before, behind] = [fromMs, untilMs];
  while (behind - before > MINUTE_MS) {
    const between = before + Math.floor((behind - before) / MINUTE_MS / 2) * MINUTE_MS;
    if (offsetMs(timeZone, between) === offset) before = between;
    else behind = between;
  }
  return behind;
}
