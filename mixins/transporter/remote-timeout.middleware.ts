import { type Context, Errors, type Middleware } from "moleculer";
import { TimeoutError, withTimeout } from "../../lib/timeout.ts";

/** Moleculer's own timeout comes first, unless the process was blocked: then either may be first. */
const GRACE_MS = 100;

type Handler = (ctx: Context) => Promise<unknown>;

/**
 * Ends a request to another node at its timeout, with or without a response. Moleculer's timeout only rejects the call of
 * the caller. If the response is lost, for example in a restart of NATS, the request stays in the list of active requests
 * for the life of the process, and a stop waits for it until the shutdown timeout.
 */
export function remoteTimeout(): Middleware {
  return { name: "RemoteTimeout", remoteAction: endAtTimeout } as Middleware;
}

function endAtTimeout(next: Handler): Handler {
  return async (ctx) => {
    const timeoutMs = ctx.options.timeout ?? 0;
    if (timeoutMs <= 0) return await next(ctx);
    return await withTimeout(timeoutMs + GRACE_MS, () => next(ctx)).catch((error: unknown) => {
      if (!(error instanceof TimeoutError)) throw error;
      throw new Errors.RequestTimeoutError({ action: ctx.action?.name ?? "", nodeID: ctx.nodeID ?? "" });
    });
  };
}
