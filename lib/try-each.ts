/**
 * Runs the work of a sweep for each due item. A failure does not stop the others.
 * @param stopping ends the sweep between two items
 * @throws Error with the number of failures, after all items were tried
 */
export async function tryEach<T>(
  what: string,
  due: readonly T[],
  work: (one: T) => Promise<unknown>,
  stopping?: AbortSignal,
): Promise<void> {
  const failures: unknown[] = [];
  for (const one of due) {
    if (stopping?.aborted) break;
    await work(one).catch((error) => failures.push(error));
  }
  if (failures.length > 0) {
    throw new Error(`${failures.length} of ${due.length} ${what} failed, the last: ${failures.at(-1)}`);
  }
}
