/**
 * Checks that a schema cannot express. Each is pure. It returns a sentence for the person who typed the value, or
 * undefined when the value is valid.
 */

const DATE = /^(\d{4})-(\d\d)-(\d\d)$/;
const OLDEST_BIRTH_YEAR = 1900;

/** Whether the text is a valid date as YYYY-MM-DD. 2026-02-29 is not valid. */
export function isCalendarDate(text: string): boolean {
  const [, year, month, day] = (DATE.exec(text) ?? []).map(Number);
  if (year === undefined || month === undefined || day === undefined) return false;
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day); // Date.UTC would take the year 50 for 1950
  return date.getUTCFullYear() === year && date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
}

/**
 * Describes the error of a date of birth; undefined when it is valid.
 * @param nowMs the present moment, in UTC
 */
export function birthDateProblem(text: string, nowMs: number): string | undefined {
  if (!isCalendarDate(text)) return "Must be a date of the calendar, as YYYY-MM-DD.";
  const today = new Date(nowMs).toISOString().slice(0, 10);
  if (text >= today) return "Must lie in the past.";
  if (Number(text.slice(0, 4)) < OLDEST_BIRTH_YEAR) return `Must not lie before ${OLDEST_BIRTH_YEAR}.`;
  return undefined;
}
