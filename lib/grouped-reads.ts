import { AsyncLocalStorage } from "node:async_hooks";

/** The most keys of one statement. */
const MAX_KEYS = 100;
/** Statements at once. With one alone, a connection that hangs would hold up all reads. */
const MAX_STATEMENTS = 2;

interface PendingRead<K, T> {
  key: K;
  /** Runs the statement in the trace of this read. */
  within: <R>(work: () => R) => R;
  resolve(value: T | undefined): void;
  reject(error: unknown): void;
}

/**
 * Combines reads by key: those that arrive while statements run share the next one. The statement of a read starts after
 * its call, so it sees all that was committed before. A read that arrives alone waits for no other. A failed statement
 * fails the reads that share it. It belongs to the trace of the first of them. See docs/adr/0049-shared-reads.md.
 * @param readAll the values by the text of their key, without those that do not exist
 * @param textOf the text of a key: keys with the same text are read once
 * @returns reads one value; undefined if it does not exist
 */
export function groupedReads<T, K = string>(
  readAll: (keys: readonly K[]) => Promise<ReadonlyMap<string, T>>,
  textOf: (key: K) => string = String,
): (key: K) => Promise<T | undefined> {
  const queue: PendingRead<K, T>[] = [];
  let running = 0;

  const readGroup = async (group: readonly PendingRead<K, T>[]) => {
    const [first] = group as [PendingRead<K, T>];
    const keys = [...new Map(group.map(({ key }) => [textOf(key), key])).values()];
    try {
      const values = await first.within(() => readAll(keys));
      for (const { key, resolve } of group) resolve(values.get(textOf(key)));
    } catch (error) {
      for (const { reject } of group) reject(error);
    }
  };
  const work = async () => {
    running++;
    while (queue.length > 0) await readGroup(queue.splice(0, MAX_KEYS));
    running--;
  };

  return (key) =>
    new Promise((resolve, reject) => {
      queue.push({ key, within: AsyncLocalStorage.snapshot(), resolve, reject });
      if (running < MAX_STATEMENTS) void work();
    });
}
