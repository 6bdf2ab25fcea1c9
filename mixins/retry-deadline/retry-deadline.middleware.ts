import type { ActionSchema, Context, Middleware } from "moleculer";

/** The minimum timeout of an attempt. 0 would mean no timeout. */
const TIMEOUT_MIN_MS = 1;

/**
 * Makes all attempts of a call share its timeout. Moleculer's retry copies the options of the failed attempt with the
 * whole timeout, so three attempts of a slow service took three times the timeout of the caller.
 */
export function retryDeadline(): Middleware {
  return { name: "RetryDeadline", localAction: shareTimeout, remoteAction: shareTimeout } as Middleware;
}

type Handler = (ctx: Context) => Promise<unknown>;

function shareTimeout(next: Handler, action: ActionSchema): Handler {
  if (!action.retryPolicy?.enabled) return next;
  return (ctx) => {
    const timeoutMs = ctx.options.timeout ?? 0;
    if (timeoutMs <= 0) return next(ctx);
    const startedAtMs = performance.now();
    return next(ctx).catch((error: unknown) => {
      const leftMs = Math.floor(timeoutMs - (performance.now() - startedAtMs));
      ctx.options = { ...ctx.options, timeout: Math.max(TIMEOUT_MIN_MS, leftMs) };
      throw error;
    });
  };
}
