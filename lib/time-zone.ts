const MINUTE_MS = 60_000;

/** What the clock on the wall shows. */
export interface LocalDateTime {
  year: number;
  /** 1..12 */
  month: number;
  day: number;
  /** 0 is Sunday. */
  weekday: number;
  /** Of the day. */
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

/** How far the wall is ahead of UTC at this moment. */
export function offsetMs(timeZone: string, atMs: number): number {
  const { year, month, day, minute } = localDateTime(timeZone, atMs);
  return Date.UTC(year, month - 1, day, 0, minute) - Math.floor(atMs / MINUTE_MS) * MINUTE_MS;
}

/** Whether it is the name of a time zone, as Europe/Berlin. */
export function isTimeZone(name: string): boolean {
  // Intl also takes offsets ("+01:00"), which would be wrong for half of the year.
  if (!/^[A-Za-z]/.test(name)) return false;
  try {
    formatterOf(name);
    return true;
  } catch {
    return false;
  }
}

/** Making a formatter costs a hundred times what using one does. */
const formatters = new Map<string, Intl.DateTimeFormat>();
/** There are some six hundred names, but each may be written in capitals and small letters at will. */
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
