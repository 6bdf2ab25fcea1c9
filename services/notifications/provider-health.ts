import type { Clock } from "../../lib/clock.ts";

const FAILURES_TO_OPEN = 5;
const OPEN_MS = 15_000;

/**
 * Which push providers are worth a try: one that failed five times in a row is left out for 15 seconds, then a
 * single push finds out whether it is back. Each process learns for itself.
 */
export function providerHealth(clock: Clock) {
  const states = new Map<string, { failures: number; retryAtMs: number }>();
  return {
    /** Whether to try it now. The one try after the pause is granted to who asks first. */
    healthy(provider: string): boolean {
      const state = states.get(provider);
      if (!state || state.failures < FAILURES_TO_OPEN) return true;
      if (clock.now() < state.retryAtMs) return false;
      state.retryAtMs = clock.now() + OPEN_MS;
      return true;
    },
    worked(provider: string): void {
      states.delete(provider);
    },
    failed(provider: string): void {
      const failures = (states.get(provider)?.failures ?? 0) + 1;
      states.set(provider, { failures, retryAtMs: clock.now() + OPEN_MS });
    },
  };
}

export type ProviderHealth = ReturnType<typeof providerHealth>;
