/** The maximum number of kept values; more than a platform has banks or agents. */
const MAX_VALUES = 1_000;

export interface BriefCache<T> {
  /** The value, at most `ttlMs` old. Concurrent calls share one load. A value that does not exist is not kept. */
  get(key: string): Promise<T | undefined>;
  /** The next `get` loads the value again. */
  drop(key: string): void;
}

/**
 * Keeps values for so short a time that other processes' changes need no message. The process that changes a value calls
 * `drop` after its commit.
 */
export function briefCache<T>(
  ttlMs: number,
  load: (key: string) => Promise<T | undefined>,
  now: () => number = () => performance.now(),
): BriefCache<T> {
  const kept = new Map<string, { value: Promise<T | undefined>; untilMs: number }>();
  return {
    async get(key) {
      const found = kept.get(key);
      if (found && now() < found.untilMs) return await found.value;
      if (kept.size >= MAX_VALUES) kept.clear();
      const entry = { value: load(key), untilMs: now() + ttlMs };
      kept.set(key, entry);
      const forget = () => kept.get(key) === entry && kept.delete(key);
      try {
        const value = await entry.value;
        if (value === undefined) forget();
        return value;
      } catch (error) {
        forget();
        throw error;
      }
    },
    drop: (key) => void kept.delete(key),
  };
}
