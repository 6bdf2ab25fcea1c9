/** How long the concurrency limit may be reached before it is reported. */
const SATURATED_AFTER_MS = 10_000;

/** Detects that a kind of work has been at its concurrency limit for too long, so that further work is delayed. */
export function saturation(what: string, saturatedAfterMs = SATURATED_AFTER_MS) {
  let fullSinceMs: number | undefined;
  return {
    /** Call it after each start and end of a task. */
    note(running: number, limit: number): void {
      if (running < limit) fullSinceMs = undefined;
      else fullSinceMs ??= performance.now();
    },
    /** Describes the problem; undefined when there is none. */
    problem(): string | undefined {
      if (fullSinceMs === undefined) return undefined;
      const forMs = performance.now() - fullSinceMs;
      return forMs < saturatedAfterMs
        ? undefined
        : `${what}: the concurrency limit has been reached for ${Math.round(forMs / 1_000)} s`;
    },
  };
}
