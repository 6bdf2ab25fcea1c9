/** How the delays between attempts grow. */
export interface Backoff {
  /** The delay after the first failure. */
  readonly firstMs: number;
  /** The factor between one delay and the next. */
  readonly factor: number;
  readonly maxMs: number;
  /** The share of a delay, from 0 to 1, that is random. It spreads the retries of calls that failed at the same time. */
  readonly jitter: number;
}

/**
 * The delay after failure number `failures` (1 is the first): at most `maxMs`, and at least `(1 - jitter)` of the delay
 * without jitter.
 * @param random from 0 to 1
 */
export function backoffMs(backoff: Backoff, failures: number, random: number = Math.random()): number {
  const grown = backoff.firstMs * backoff.factor ** Math.max(0, failures - 1);
  return Math.round(jittered(Math.min(backoff.maxMs, grown), backoff.jitter, random));
}

/** `delayMs` shortened by up to `jitter` of itself. */
export function jittered(delayMs: number, jitter: number, random: number = Math.random()): number {
  return delayMs * (1 - jitter * random);
}
