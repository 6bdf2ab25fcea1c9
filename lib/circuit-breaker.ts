import type { Clock } from "./clock.ts";

export interface BreakerLimits {
  /** So many failures in a row open the breaker. */
  failuresToOpen: number;
  /** How long it stays open before one call finds out whether the other side is back. */
  openMs: number;
  /** The longest time that the other side may ask to be left alone for. Default: `openMs`. */
  askedMaxMs?: number;
  /** How many keys are remembered; of more, the one that failed first is forgotten. Default: 1,000. */
  keysMax?: number;
}

const KEYS_MAX = 1_000;

/**
 * One circuit breaker for each key, e.g. a bank or a push service: after failures in a row its calls are refused at once,
 * and after a pause a single call finds out whether it works again. Each process learns for itself.
 *
 * Only what says that the other side is unreachable or broken counts as a failure. An answer about one caller's order or
 * token is a success: the other side works.
 */
export function circuitBreakers(clock: Clock, limits: BreakerLimits) {
  const { failuresToOpen, openMs, askedMaxMs = openMs, keysMax = KEYS_MAX } = limits;
  const states = new Map<string, { failures: number; retryAtMs: number }>();
  return {
    /** Whether to call now. The one call after the pause is granted to the first that asks. */
    admits(key: string): boolean {
      const state = states.get(key);
      if (!state || state.failures < failuresToOpen) return true;
      if (clock.now() < state.retryAtMs) return false;
      state.retryAtMs = clock.now() + openMs;
      return true;
    },
    worked(key: string): void {
      states.delete(key);
    },
    /** @param askedMs how long the other side asked to be left alone */
    failed(key: string, askedMs = 0): void {
      const { failures = 0, retryAtMs = 0 } = states.get(key) ?? {};
      const [first] = states.keys();
      if (first !== undefined && states.size >= keysMax && !states.has(key)) states.delete(first);
      const untilMs = clock.now() + (askedMs ? Math.min(askedMs, askedMaxMs) : openMs);
      states.set(key, {
        failures: Math.max(failures + 1, askedMs ? failuresToOpen : 0),
        retryAtMs: Math.max(untilMs, retryAtMs),
      });
    },
    /** The keys whose calls are refused or left to a single one now. */
    open(): string[] {
      return [...states].flatMap(([key, { failures }]) => (failures >= failuresToOpen ? [key] : []));
    },
  };
}

export type CircuitBreakers = ReturnType<typeof circuitBreakers>;
