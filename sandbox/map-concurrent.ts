const AT_ONCE = 4;

/** Runs `work` for all items, `atOnce` at a time, so that the platform keeps capacity for others. @throws the first error */
export async function mapConcurrent<T>(
  items: readonly T[],
  work: (item: T) => Promise<void>,
  atOnce = AT_ONCE,
): Promise<void> {
  const queue = [...items];
  const worker = async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}
