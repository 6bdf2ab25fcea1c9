/**
 * Checks that no schema can say. Each is pure and answers with a sentence for the person who typed the value, or
 * with nothing when it is right.
 */

const DATE = /^(\d{4})-(\d\d)-(\d\d)$/;
const OLDEST_BIRTH_YEAR = 1900;

/** Whether the text is a day of the calendar, as YYYY-MM-DD: 2026-02-29 is none. */
export function isCalendarDate(text: string): boolean {
  const [, year, month, day] = (DATE.exec(text) ?? []).map(Number);
  if (year === undefined || month === undefined || day === undefined) return false;
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day); // Date.UTC would take the year 50 for 1950
  return date.getUTCFullYear() === year && date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
}

/**
 * What is wrong with a date of birth.
 * @param nowMs the present moment, in UTC
 */
export function birthDateProblem(text: string, nowMs: number): string | undefined {
  if (!isCalendarDate(text)) return "Must be a date of the calendar, as YYYY-MM-DD.";
  const today = new Date(nowMs).toISOString().slice(0, 10);
  if (text >= today) return "Must lie in the past.";
  if (Number(text.slice(0, 4)) < OLDEST_BIRTH_YEAR) return `Must not lie before ${OLDEST_BIRTH_YEAR}.`;
  return undefined;
}
