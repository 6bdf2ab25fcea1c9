import type { Hours } from "../../contracts/partners.ts";

const MINUTES_A_DAY = 1_440;
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
/** A span may begin up to a week ahead; the eighth day is today's weekday again. */
const DAYS_AHEAD = 8;

type Span = Hours["spans"][number];

/** What the clock on the wall shows. */
interface WallTime {
  year: number;
  /** 1..12 */
  month: number;
  day: number;
  /** 0 is Sunday. */
  weekday: number;
  minute: number;
}

/**
 * Whether the clock on the partner's wall stands within one of the spans. Without any span a partner is closed.
 * By daylight saving an hour that happens twice counts twice, and one that does not happen not at all.
 * @param atMs milliseconds of Unix time
 */
export function isOpenAt({ timeZone, spans }: Hours, atMs: number): boolean {
  if (spans.length === 0) return false;
  const { weekday, minute } = wallTime(timeZone, atMs);
  return spans.some((span) => covers(span, weekday, minute));
}

/**
 * The first moment from now on at which the partner is open, in milliseconds of Unix time; undefined without
 * any span.
 */
export function nextOpening(hours: Hours, fromMs: number): number | undefined {
  if (isOpenAt(hours, fromMs)) return fromMs;
  const today = wallTime(hours.timeZone, fromMs);
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

/** What is wrong with the hours that a partner wants to have; undefined when nothing is. */
export function hoursTrouble({ timeZone, spans }: Hours): { field: string; message: string } | undefined {
  if (!isTimeZone(timeZone)) return { field: "hours.timeZone", message: "This time zone is not known." };
  const at = spans.findIndex((span) => span.untilMinute <= span.fromMinute);
  if (at < 0) return undefined;
  return { field: `hours.spans[${at}].untilMinute`, message: "A span must end after it begins." };
}

function covers(span: Span, weekday: number, minute: number): boolean {
  // A span reaches at most to the end of the day after its own.
  return (
    (span.weekday === weekday && span.fromMinute <= minute && minute < span.untilMinute) ||
    (span.weekday === (weekday + 6) % 7 && minute + MINUTES_A_DAY < span.untilMinute)
  );
}

/**
 * The moments at which the wall shows this time: one, two when the clock is put back over it, and the end of the
 * gap when it is put forward over it.
 */
function momentsOf(timeZone: string, wall: WallTime): number[] {
  const asUtc = Date.UTC(wall.year, wall.month - 1, wall.day, 0, wall.minute);
  // No offset changes twice within two days, so the offsets before and after are all there can be.
  const guesses = [asUtc - DAY_MS, asUtc + DAY_MS].map((near) => asUtc - offsetMs(timeZone, near));
  const exact = guesses.filter((ms) => ms + offsetMs(timeZone, ms) === asUtc);
  return exact.length > 0 ? exact : [Math.max(...guesses)].map((ms) => gapEnd(timeZone, ms));
}

/** The first minute after the gap that `ms` fell out of. */
function gapEnd(timeZone: string, ms: number): number {
  let end = ms;
  while (offsetMs(timeZone, end - MINUTE_MS) === offsetMs(timeZone, ms)) end -= MINUTE_MS;
  return end;
}

function offsetMs(timeZone: string, atMs: number): number {
  const { year, month, day, minute } = wallTime(timeZone, atMs);
  return Date.UTC(year, month - 1, day, 0, minute) - Math.floor(atMs / MINUTE_MS) * MINUTE_MS;
}

/** Making a formatter costs a hundred times what using one does. */
const formatters = new Map<string, Intl.DateTimeFormat>();

function formatterOf(timeZone: string): Intl.DateTimeFormat {
  let formatter = formatters.get(timeZone);
  if (!formatter) {
    formatter = new Intl.DateTimeFormat("en-US", {
      timeZone,
      hourCycle: "h23",
      year: "numeric",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
    });
    formatters.set(timeZone, formatter);
  }
  return formatter;
}

function isTimeZone(name: string): boolean {
  // Intl also takes offsets ("+01:00"), which would be wrong for half of the year.
  if (!/^[A-Za-z]/.test(name)) return false;
  try {
    formatterOf(name);
    return true;
  } catch {
    return false;
  }
}

function wallTime(timeZone: string, atMs: number): WallTime {
  const parts: Record<string, number> = {};
  for (const { type, value } of formatterOf(timeZone).formatToParts(atMs)) parts[type] = Number(value);
  const { year = 0, month = 1, day = 1, hour = 0, minute = 0 } = parts;
  const weekday = new Date(Date.UTC(year, month - 1, day)).getUTCDay();
  return { year, month, day, weekday, minute: hour * 60 + minute };
}
