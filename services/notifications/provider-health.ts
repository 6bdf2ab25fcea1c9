import type { Clock } from "../../lib/clock.ts";

const FAILURES_TO_OPEN = 5;
const OPEN_MS = 15_000;
const ASKED_MAX_MS = 600_000;
/** Of browsers' push services anybody may make some up: of too many, the one that failed first is forgotten. */
const LINES_MAX = 1_000;

/**
 * Which push providers, or which lines of them, are worth a try: one that failed five times in a row is left out for 15 seconds, then a
 * single push finds out whether it is back; one that asks to be left alone is, for ten minutes at most. Each process
 * learns for itself.
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
    /** @param askedMs how long it asked to be left alone */
    failed(provider: string, askedMs = 0): void {
      const { failures = 0, retryAtMs = 0 } = states.get(provider) ?? {};
      const [first] = states.keys();
      if (first !== undefined && states.size >= LINES_MAX && !states.has(provider)) states.delete(first);
      const untilMs = clock.now() + (askedMs ? Math.min(askedMs, ASKED_MAX_MS) : OPEN_MS);
      states.set(provider, {
        failures: Math.max(failures + 1, askedMs ? FAILURES_TO_OPEN : 0),
        retryAtMs: Math.max(untilMs, retryAtMs),
      });
    },
  };
}

export type ProviderHealth = ReturnType<typeof providerHealth>;
