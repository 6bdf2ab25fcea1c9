import type { Hours } from "../../../contracts/partners.ts";
import { isTimeZone, type LocalDateTime, localDateTime, offsetMs } from "../../../lib/time-zone.ts";

const MINUTES_A_DAY = 1_440;
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
/** A span may begin up to a week ahead; the eighth day is today's weekday again. */
const DAYS_AHEAD = 8;

type Span = Hours["spans"][number];

/**
 * Whether the partner's local time is within one of the spans. Without any span the partner is closed. When daylight saving
 * time repeats an hour, both count; an hour that it skips does not exist.
 * @param atMs milliseconds of Unix time
 */
export function isOpenAt({ timeZone, spans }: Hours, atMs: number): boolean {
  if (spans.length === 0) return false;
  const { weekday, minute } = localDateTime(timeZone, atMs);
  return spans.some((span) => covers(span, weekday, minute));
}

/**
 * The first moment from `fromMs` on at which the partner is open, in milliseconds of Unix time; undefined without
 * any span.
 */
export function nextOpening(hours: Hours, fromMs: number): number | undefined {
  if (isOpenAt(hours, fromMs)) return fromMs;
  const today = localDateTime(hours.timeZone, fromMs);
  const candidates: number[] = [];
  for (let ahead = -1; ahead < DAYS_AHEAD; ahead++) {
    const weekday = (today.weekday + ahead + 7) % 7;
    for (const span of hours.spans.filter((one) => one.weekday === weekday)) {
      candidates.push(
        ...momentsOf(hours.timeZone, { ...today, day: today.day + ahead, minute: span.fromMinute }),
      );
    }
  }
  const later = candidates.filter((ms) => ms > fromMs && isOpenAt(hours, ms));
  return later.length > 0 ? Math.min(...later) : undefined;
}

/** Describes the first error in opening hours; undefined when they are valid. */
export function hoursTrouble({ timeZone, spans }: Hours): { field: string; message: string } | undefined {
  if (!isTimeZone(timeZone)) return { field: "hours.timeZone", message: "This time zone is not known." };
  const at = spans.findIndex((span) => span.untilMinute <= span.fromMinute);
  if (at < 0) return undefined;
  return { field: `hours.spans[${at}].untilMinute`, message: "A span must end after it begins." };
}

function covers(span: Span, weekday: number, minute: number): boolean {
  // A span ends at the latest with the following day.
  return (
    (span.weekday === weekday && span.fromMinute <= minute && minute < span.untilMinute) ||
    (span.weekday === (weekday + 6) % 7 && minute + MINUTES_A_DAY < span.untilMinute)
  );
}

/**
 * The moments with this local time: normally one; two when daylight saving time repeats the hour; the end of the gap when it
 * skips the hour.
 */
function momentsOf(timeZone: string, local: LocalDateTime): number[] {
  const asUtc = Date.UTC(local.year, local.month - 1, local.day, 0, local.minute);
  // An offset never changes twice within two days, so the offsets a day before and a day after are the only candidates.
  const guesses = [asUtc - DAY_MS, asUtc + DAY_MS].map((near) => asUtc - offsetMs(timeZone, near));
  const exact = guesses.filter((ms) => ms + offsetMs(timeZone, ms) === asUtc);
  return exact.length > 0 ? exact : [Math.max(...guesses)].map((ms) => gapEnd(timeZone, ms));
}

/** The first minute after the gap before `ms`. */
function gapEnd(timeZone: string, ms: number): number {
  let end = ms;
  while (offsetMs(timeZone, end - MINUTE_MS) === offsetMs(timeZone, ms)) end -= MINUTE_MS;
  return end;
}
