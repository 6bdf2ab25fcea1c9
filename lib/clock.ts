/** Where the time comes from. Pure code takes a moment as an argument; only edges hold a clock. */
export interface Clock {
  /** Milliseconds of Unix time. */
  now(): number;
}

/**
 * How far the clocks of two machines of one installation may be apart. A moment that another machine's clock has set is
 * compared with the own clock with this tolerance, unless the protocol names a larger one. docs/operating.md lists the
 * comparisons.
 */
export const CLOCK_TOLERANCE_MS = 5_000;

export const systemClock: Clock = { now: () => Date.now() };

/** RFC 3339 in UTC with milliseconds: the only spelling of a moment inside and outside Waybill. */
export function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}

// What both PostgreSQL and four digits can say: ISO 8601 has a year 0 that PostgreSQL has not.
const FIRST_MS = Date.parse("0001-01-01T00:00:00.000Z");
const LAST_MS = Date.parse("9999-12-31T23:59:59.999Z");

/**
 * The moment that a text in the form of RFC 3339 says, in milliseconds of Unix time. The form alone does not tell
 * that no hour has 61 minutes, nor that an offset leads out of the years that can be stored.
 * @returns undefined for no moment of the years 1 to 9999 in UTC
 */
export function momentOf(text: string): number | undefined {
  const ms = Date.parse(text);
  return ms >= FIRST_MS && ms <= LAST_MS ? ms : undefined;
}
