/** Where the time comes from. Pure code takes a moment as an argument; only edges hold a clock. */
export interface Clock {
  /** Milliseconds of Unix time. */
  now(): number;
}

export const systemClock: Clock = { now: () => Date.now() };

/** RFC 3339 in UTC with milliseconds: the only spelling of a moment inside and outside Waybill. */
export function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}
