export interface KeyedLimits {
  /** The maximum number of tasks of one key that run at one time. */
  atOnce: number;
  /** How long a further task waits before it is refused. */
  waitMs: number;
}

/** A task waited for `waitMs` and was not started. */
export class KeyedLimitError extends Error {}

interface Line {
  running: number;
  waiting: Set<() => void>;
}

/**
 * Limits the concurrency for each key of a shared resource, for example database connections. So one order, product or
 * partner that is slow or busy never takes the whole resource.
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
    // A task that ends lets the first waiting task start.
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
    /** @throws KeyedLimitError, or the error of `work` */
    async run<T>(key: string, work: () => Promise<T>): Promise<T> {
      await enter(key);
      try {
        return await work();
      } finally {
        leave(key);
      }
    },
    /** The number of keys with running or waiting tasks. */
    keys: () => lines.size,
  };
}

export type KeyedLimit = ReturnType<typeof keyedLimit>;
