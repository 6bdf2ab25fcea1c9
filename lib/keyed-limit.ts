export interface KeyedLimits {
  /** How much work of one key runs at once. */
  atOnce: number;
  /** How long more of it waits for its turn before it is refused. */
  waitMs: number;
}

/** Work of this key waited for its turn as long as it may. */
export class KeyedLimitError extends Error {}

interface Line {
  running: number;
  waiting: Set<() => void>;
}

/**
 * Shares something that all use, as the connections to a database, by keys: work of one key beyond its part waits for
 * its own turn, so that one order, product or partner that is slow or in great demand never takes all of it.
 */
export function keyedLimit({ atOnce, waitMs }: KeyedLimits) {
  const lines = new Map<string, Line>();

  async function enter(key: string): Promise<void> {
    const line = lines.get(key) ?? { running: 0, waiting: new Set() };
    lines.set(key, line);
    if (line.running < atOnce) {
      line.running += 1;
      return;
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    // The place of the work that ends goes to the first in the line.
    const begin = () => {
      clearTimeout(timer);
      line.waiting.delete(begin);
      resolve();
    };
    const timer = setTimeout(() => {
      line.waiting.delete(begin);
      reject(new KeyedLimitError(`no turn for ${key} within ${waitMs} ms`));
    }, waitMs);
    line.waiting.add(begin);
    await promise;
  }

  function leave(key: string): void {
    const line = lines.get(key) as Line;
    const [next] = line.waiting;
    if (next) {
      next();
      return;
    }
    line.running -= 1;
    if (line.running === 0) lines.delete(key);
  }

  return {
    /** @throws KeyedLimitError, and what `work` throws */
    async run<T>(key: string, work: () => Promise<T>): Promise<T> {
      await enter(key);
      try {
        return await work();
      } finally {
        leave(key);
      }
    },
    /** How many keys have work that runs or waits. */
    keys: () => lines.size,
  };
}

export type KeyedLimit = ReturnType<typeof keyedLimit>;
