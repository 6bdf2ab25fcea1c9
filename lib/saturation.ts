/** How long all places may be taken before that is more than a moment of much work. */
const PATIENCE_MS = 10_000;

/** Whether all places for a kind of work have been taken for so long that other work of it is held up. */
export function saturation(what: string, patienceMs = PATIENCE_MS) {
  let fullSinceMs: number | undefined;
  return {
    /** To be called whenever a place was taken or left. */
    note(taken: number, places: number): void {
      if (taken < places) fullSinceMs = undefined;
      else fullSinceMs ??= performance.now();
    },
    /** A sentence about the problem; undefined while there is none. */
    problem(): string | undefined {
      if (fullSinceMs === undefined) return undefined;
      const forMs = performance.now() - fullSinceMs;
      return forMs < patienceMs
        ? undefined
        : `all places for ${what} have been taken for ${Math.round(forMs / 1_000)} s`;
    },
  };
}
