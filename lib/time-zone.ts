const MINUTE_MS = 60_000;

/** Date and time in a time zone. */
export interface LocalDateTime {
  year: number;
  /** 1..12 */
  month: number;
  day: number;
  /** 0 is Sunday. */
  weekday: number;
  /** Of the day: 0..1439 */
  minute: number;
}

/** @param atMs milliseconds of Unix time */
export function localDateTime(timeZone: string, atMs: number): LocalDateTime {
  const parts: Record<string, number> = {};
  for (const { type, value } of formatterOf(timeZone).formatToParts(atMs)) parts[type] = Number(value);
  const { year = 0, month = 1, day = 1, hour = 0, minute = 0 } = parts;
  const weekday = new Date(Date.UTC(year, month - 1, day)).getUTCDay();
  return { year, month, day, weekday, minute: hour * 60 + minute };
}

/** The offset of the time zone from UTC at this moment. */
export function offsetMs(timeZone: string, atMs: number): number {
  const { year, month, day, minute } = localDateTime(timeZone, atMs);
  return Date.UTC(year, month - 1, day, 0, minute) - Math.floor(atMs / MINUTE_MS) * MINUTE_MS;
}

/** Whether `name` is the name of a time zone, for example Europe/Berlin. */
export function isTimeZone(name: string): boolean {
  // Intl also accepts offsets ("+01:00"), which are wrong for half of the year in many zones.
  if (!/^[A-Za-z]/.test(name)) return false;
  try {
    formatterOf(name);
    return true;
  } catch {
    return false;
  }
}

/** Formatters are cached: creating one costs a hundred times as much as using it. */
const formatters = new Map<string, Intl.DateTimeFormat>();
/** There are about six hundred names, but each may be written in any mix of upper and lower case. */
const FORMATTERS_MAX = 1_000;

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
    if (formatters.size >= FORMATTERS_MAX) formatters.clear();
    formatters.set(timeZone, formatter);
  }
  return formatter;
}
