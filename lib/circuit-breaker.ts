import type { Clock } from "./clock.ts";

export interface BreakerLimits {
  /** The number of failures in a row that opens the breaker. */
  failuresToOpen: number;
  /** The least time from the first to the last of these failures. Default: 0. */
  failingMs?: number;
  /** How long an open breaker refuses calls before it grants one trial call. */
  openMs: number;
  /** The maximum time for which the other side may ask for no calls. Default: `openMs`. */
  askedMaxMs?: number;
}

/**
 * Refuses calls to another side after repeated failures. After a pause it grants one trial call: a success closes the
 * breaker, and after a failure the next trial follows one pause after this one. Each process counts for itself.
 *
 * Count only errors that mean that the other side is unreachable or broken. An answer about one caller's order or token
 * is a success: the other side works.
 */
export interface CircuitBreaker {
  /** Whether to call now. While open, true grants the trial call. */
  admits(): boolean;
  worked(): void;
  /** @param askedMs for how long the other side asked for no calls */
  failed(askedMs?: number): void;
  /** Whether calls are refused, except for trial calls. */
  isOpen(): boolean;
}

export function circuitBreaker(clock: Clock, limits: BreakerLimits): CircuitBreaker {
  const { failuresToOpen, failingMs = 0, openMs, askedMaxMs = openMs } = limits;
  let failures = 0;
  let firstFailureMs = 0;
  /** The time of the next trial call. Undefined while closed. */
  let trialMs: number | undefined;
  return {
    admits() {
      if (trialMs === undefined) return true;
      if (clock.now() < trialMs) return false;
      trialMs = clock.now() + openMs;
      return true;
    },
    worked() {
      [failures, trialMs] = [0, undefined];
    },
    failed(askedMs = 0) {
      const nowMs = clock.now();
      if (failures === 0) firstFailureMs = nowMs;
      failures += 1;
      if (askedMs > 0) trialMs = Math.max(nowMs + Math.min(askedMs, askedMaxMs), trialMs ?? 0);
      // A late failure of a call from before the opening does not prolong the pause.
      else if (failures >= failuresToOpen && nowMs - firstFailureMs >= failingMs) trialMs ??= nowMs + openMs;
    },
    isOpen: () => trialMs !== undefined,
  };
}

/** The maximum number of keys with failures; beyond it, the key whose failures began first is removed. */
const KEYS_MAX = 1_000;

/** One circuit breaker for each key, for example a bank or a push service. */
export interface CircuitBreakers {
  admits(key: string): boolean;
  worked(key: string): void;
  failed(key: string, askedMs?: number): void;
  /** The keys whose breaker is open. */
  open(): string[];
}

export function circuitBreakers(clock: Clock, limits: BreakerLimits): CircuitBreakers {
  /** The breakers of keys with failures. */
  const failing = new Map<string, CircuitBreaker>();
  return {
    admits: (key) => failing.get(key)?.admits() ?? true,
    worked(key) {
      failing.delete(key);
    },
    failed(key, askedMs) {
      const breaker = failing.get(key) ?? circuitBreaker(clock, limits);
      const [first] = failing.keys();
      if (first !== undefined && failing.size >= KEYS_MAX && !failing.has(key)) failing.delete(first);
      failing.set(key, breaker);
      breaker.failed(askedMs);
    },
    open: () => [...failing].flatMap(([key, breaker]) => (breaker.isOpen() ? [key] : [])),
  };
}
