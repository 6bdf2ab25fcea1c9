export interface KeyedLimits {
  /** The maximum number of tasks of one key that run at one time. */
  atOnce: number;
  /** How long a further task waits before it is refused. */
  waitMs: number;
}

/** A task waited for `waitMs` and was not started. */
export class KeyedLimitError extends Error {}

interface KeyState {
  running: number;
  waiting: Set<() => void>;
}

/**
 * Limits the concurrency for each key of a shared resource, for example database connections. So one order, product or
 * partner that is slow or busy never takes the whole resource.
 */
export function keyedLimit({ atOnce, waitMs }: KeyedLimits) {
  const states = new Map<string, KeyState>();

  async function acquire(key: string): Promise<void> {
    const state = states.get(key) ?? { running: 0, waiting: new Set() };
    states.set(key, state);
    if (state.running < atOnce) {
      state.running += 1;
      return;
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    // A task that ends lets the first waiting task start.
    const begin = () => {
      clearTimeout(timer);
      state.waiting.delete(begin);
      resolve();
    };
    const timer = setTimeout(() => {
      state.waiting.delete(begin);
      reject(new KeyedLimitError(`${key}: no free slot within ${waitMs} ms`));
    }, waitMs);
    state.waiting.add(begin);
    await promise;
  }

  function release(key: string): void {
    const state = states.get(key) as KeyState;
    const [next] = state.waiting;
    if (next) {
      next();
      return;
    }
    state.running -= 1;
    if (state.running === 0) states.delete(key);
  }

  return {
    /** @throws KeyedLimitError, or the error of `work` */
    async run<T>(key: string, work: () => Promise<T>): Promise<T> {
      await acquire(key);
      try {
        return await work();
      } finally {
        release(key);
      }
    },
    /** The number of keys with running or waiting tasks. */
    keys: () => states.size,
  };
}

export type KeyedLimit = ReturnType<typeof keyedLimit>;
