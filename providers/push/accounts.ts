import { NotSentError } from "./http.ts";

/** Agents are few; what is beyond this are settings that were replaced. */
const ACCOUNTS_MAX = 50;

/**
 * What an adapter keeps for each account that it sends for. Of too many, the one that was used longest ago goes.
 * @param leave ends what an account keeps open
 */
export function accounts<T>(leave: (account: T) => Promise<void> = async () => undefined) {
  const kept = new Map<string, T>();
  let closed = false;
  return {
    /**
     * @param key what makes an account another one: its settings, secrets included
     * @throws NotSentError once all are closed
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

/** What reading an agent's settings finds wrong with them; undefined when nothing is. */
export function troubleIn(read: () => unknown): string | undefined {
  try {
    read();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
