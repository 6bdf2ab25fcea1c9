/** No result came within the time limit. */
export class TimeoutError extends Error {
  override readonly name = "TimeoutError";

  constructor(timeoutMs: number) {
    super(`no answer within ${Math.round(timeoutMs)} ms`);
  }
}

/**
 * Settles as `work` does, and after `timeoutMs` in any case: a library or another machine that never says how a call
 * ended cannot hold the caller.
 * @param work receives a signal that is aborted at the time limit or by `cancel`, so that it can close what it opened;
 *   what it returns or throws after that is ignored
 * @param cancel ends the wait earlier
 * @throws TimeoutError at the time limit, the reason of `cancel` when that is aborted, else what `work` throws
 */
export async function withTimeout<T>(
  timeoutMs: number,
  work: (signal: AbortSignal) => Promise<T>,
  cancel?: AbortSignal,
): Promise<T> {
  const limit = new AbortController();
  const { promise: ended, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(limit.signal.reason);
  const onCancel = () => limit.abort(cancel?.reason);
  limit.signal.addEventListener("abort", onAbort, { once: true });
  const timer = setTimeout(() => limit.abort(new TimeoutError(timeoutMs)), timeoutMs);
  cancel?.addEventListener("abort", onCancel, { once: true });
  if (cancel?.aborted) onCancel();
  try {
    return await Promise.race([work(limit.signal), ended]);
  } finally {
    clearTimeout(timer);
    cancel?.removeEventListener("abort", onCancel);
  }
}

/** Resolves when `work` settles or after `timeoutMs`, whichever comes first. Never rejects. */
export async function waitAtMost(timeoutMs: number, work: Promise<unknown>): Promise<void> {
  await withTimeout(timeoutMs, () => work).catch(() => undefined);
}
