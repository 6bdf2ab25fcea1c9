/** How the waits between tries grow. */
export interface Backoff {
  /** The wait after the first failure. */
  readonly firstMs: number;
  /** By how much each further wait is longer. */
  readonly factor: number;
  readonly maxMs: number;
  /** The share of a wait, from 0 to 1, that chance may take away, so that many who failed together part. */
  readonly jitter: number;
}

/**
 * The wait after failure number `failures` (1 is the first), never above `maxMs` and never below
 * `(1 - jitter)` of the wait without chance.
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
