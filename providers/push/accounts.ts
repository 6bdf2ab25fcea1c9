import { NotSentError } from "./http.ts";

/** Far more than there are agents; older entries belong to replaced settings. */
const ACCOUNTS_MAX = 50;

/**
 * The state of an adapter for each account. Above the maximum, the least recently used one is closed.
 * @param leave closes the connections of an account
 */
export function accounts<T>(leave: (account: T) => Promise<void> = async () => undefined) {
  const kept = new Map<string, T>();
  let closed = false;
  return {
    /**
     * @param key identifies the account: all its settings, secrets included
     * @throws NotSentError after `close`
     */
    of(key: readonly string[], make: () => T): T {
      if (closed) throw new NotSentError("the provider is closed");
      const id = JSON.stringify(key);
      const account = kept.get(id) ?? make();
      kept.delete(id);
      kept.set(id, account);
      const [oldest] = kept;
      if (oldest && kept.size > ACCOUNTS_MAX) {
        kept.delete(oldest[0]);
        void leave(oldest[1]);
      }
      return account;
    },
    async close(): Promise<void> {
      closed = true;
      await Promise.all([...kept.values()].map(leave));
    },
  };
}

/** The message of the error that `read` throws; undefined when it succeeds. */
export function settingsError(read: () => unknown): string | undefined {
  try {
    read();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
