/**
 * Does the work of a sweep for each of what is due; a failure keeps none of the others waiting.
 * @param stopping ends it between two of them
 * @throws Error that says how many failed, after all were tried
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
