/** No result came within the time limit. */
export class TimeoutError extends Error {
  override readonly name = "TimeoutError";

  constructor(timeoutMs: number) {
    super(`no answer within ${Math.round(timeoutMs)} ms`);
  }
}

/**
 * Settles as `work` does, and after `timeoutMs` in any case: a library or another machine that never reports the end of
 * a call cannot block the caller.
 * @param work receives a signal that is aborted at the time limit or by `cancel`, so that it can close its resources;
 *   its later result or error is ignored
 * @param cancel ends the wait earlier
 * @throws TimeoutError at the time limit, the reason of `cancel` when that is aborted, else the error of `work`
 */
export async function withTimeout<T>(
  timeoutMs: number,
  work: (signal: AbortSignal) => Promise<T>,
  cancel?: AbortSignal,
): Promise<T> {
  const limit = new AbortController();
  const onCancel = () => limit.abort(cancel?.reason);
  let lastRead: NodeJS.Immediate | undefined;
  const timer = setTimeout(() => {
    // After the event loop was blocked, the answer may be in the socket already. Node reads sockets after timers.
    lastRead = setImmediate(() => limit.abort(new TimeoutError(timeoutMs)));
  }, timeoutMs);
  cancel?.addEventListener("abort", onCancel, { once: true });
  if (cancel?.aborted) onCancel();
  try {
    return await untilAborted(limit.signal, work(limit.signal));
  } finally {
    clearTimeout(timer);
    clearImmediate(lastRead);
    cancel?.removeEventListener("abort", onCancel);
  }
}

/** Settles as `work` does. @throws the reason of the signal as soon as it is aborted; `work` is ignored then */
export async function untilAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

/** Resolves when `work` settles or after `timeoutMs`, whichever comes first. Never rejects. */
export async function waitAtMost(timeoutMs: number, work: Promise<unknown>): Promise<void> {
  await withTimeout(timeoutMs, () => work).catch(() => undefined);
}
