import type { ActionSchema, Context, Middleware } from "moleculer";

/** Whatever is left, the last try is told that it has no time instead of being given all of it. */
const LEAST_MS = 1;

/**
 * The tries of a call share its time: Moleculer's retry copies the options of the try that failed, and with them the
 * whole timeout, so that three tries of a slow service took three times as long as the caller may wait.
 */
export function retryDeadline(): Middleware {
  return { name: "Budget", localAction: share, remoteAction: share } as Middleware;
}

type Handler = (ctx: Context) => Promise<unknown>;

function share(next: Handler, action: ActionSchema): Handler {
  if (!action.retryPolicy?.enabled) return next;
  return (ctx) => {
    const timeoutMs = ctx.options.timeout ?? 0;
    if (timeoutMs <= 0) return next(ctx);
    const beganMs = performance.now();
    return next(ctx).catch((error: unknown) => {
      const leftMs = Math.floor(timeoutMs - (performance.now() - beganMs));
      ctx.options = { ...ctx.options, timeout: Math.max(LEAST_MS, leftMs) };
      throw error;
    });
  };
}
