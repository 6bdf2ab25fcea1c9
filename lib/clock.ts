/** The source of the time. Pure code takes a moment as an argument; only code with I/O has a clock. */
export interface Clock {
  /** Milliseconds of Unix time. */
  now(): number;
}

/**
 * The maximum difference between the clocks of two machines of one installation. A moment from the clock of another
 * machine is compared with the local clock with this tolerance, unless the protocol has a larger one. docs/operating.md
 * lists the comparisons.
 */
export const CLOCK_TOLERANCE_MS = 5_000;

export const systemClock: Clock = { now: () => Date.now() };

/** RFC 3339 in UTC with milliseconds: the only spelling of a moment inside and outside Waybill. */
export function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}

// The range that both PostgreSQL and four digits can express. ISO 8601 has a year 0, PostgreSQL has none.
const FIRST_MS = Date.parse("0001-01-01T00:00:00.000Z");
const LAST_MS = Date.parse("9999-12-31T23:59:59.999Z");

/**
 * Parses a text in the format of RFC 3339 to milliseconds of Unix time. A text in this format may still be invalid: it
 * may have 61 minutes, or an offset that leads out of the range of years.
 * @returns undefined when it is not a moment of the years 1 to 9999 in UTC
 */
export function momentOf(text: string): number | undefined {
  const ms = Date.parse(text);
  return ms >= FIRST_MS && ms <= LAST_MS ? ms : undefined;
}
