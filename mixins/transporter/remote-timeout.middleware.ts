import { type Context, Errors, type Middleware } from "moleculer";
import { TimeoutError, withTimeout } from "../../lib/timeout.ts";

/** Moleculer's own timeout has answered the caller by then, unless the process stood still: then either may be first. */
const GRACE_MS = 100;

type Handler = (ctx: Context) => Promise<unknown>;

/**
 * A request to another node ends when its time is over, with or without an answer. Moleculer's timeout answers the
 * caller alone: when the answer was lost, as with the server that carried it, the call stays among those that run, in
 * memory for as long as the process lives, and a stop waits for it until its patience ends.
 */
export function remoteTimeout(): Middleware {
  return { name: "Unanswered", remoteAction: forget } as Middleware;
}

function forget(next: Handler): Handler {
  return async (ctx) => {
    const timeoutMs = ctx.options.timeout ?? 0;
    if (timeoutMs <= 0) return await next(ctx);
    return await withTimeout(timeoutMs + GRACE_MS, () => next(ctx)).catch((error: unknown) => {
      if (!(error instanceof TimeoutError)) throw error;
      throw new Errors.RequestTimeoutError({ action: ctx.action?.name ?? "", nodeID: ctx.nodeID ?? "" });
    });
  };
}
