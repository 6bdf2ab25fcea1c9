import type { IncomingMessage, ServerResponse } from "node:http";
import { fail } from "../../../contracts/errors.ts";
import { networkOf } from "../../../lib/net/network-of.ts";
import { nameHttpSpan, withHttpServerSpan } from "../../../lib/tracing/index.ts";
import type { Limiter, LimitKey } from "../limits/limits.ts";
import { countRequest, deferCount, isRead, requestContextOf, setRequestContext } from "./request-context.ts";
import {
  baseHeaders,
  type Cors,
  refuseOddHeaders,
  requestIdOf,
  targetOf,
  traceIdFor,
} from "./request-head.ts";
import type { Router } from "./router.ts";

export interface RequestListenerDeps {
  limiter: Limiter;
  cors: Cors;
  clientIp: (req: IncomingMessage) => string;
  https: boolean;
  methodsOf: Router<unknown>["methodsOf"];
  refuse: Refuse;
}

/** Answers with a problem document when no operation is known yet. */
export type Refuse = (
  req: IncomingMessage,
  res: ServerResponse,
  error: unknown,
  headers?: Record<string, string>,
) => void;

const READ_METHODS = ["GET", "HEAD", "OPTIONS"];
const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/**
 * Handles every request before routing: sets its context and the common headers, checks its headers and target, counts
 * the limit of its address, and answers CORS preflights and OPTIONS.
 * @param route passes the request to the router; `req.url` is then the path without the query
 */
export function requestListener(
  deps: RequestListenerDeps,
  route: (req: IncomingMessage, res: ServerResponse) => void,
) {
  const headers = baseHeaders(deps);
  const handle = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    const requestId = requestIdOf(req);
    setRequestContext(req, {
      requestId,
      traceId: nameHttpSpan(req, undefined, requestId) ?? traceIdFor(req, requestId),
      clientIp: deps.clientIp(req),
      isHead: req.method === "HEAD",
      query: {},
      limitStatuses: [],
      deferredLimits: [],
      startedMs: performance.now(),
    });
    // moleculer-web copies these headers into its context, so only checked values may stay.
    req.headers["x-request-id"] = requestId;
    delete req.headers["x-correlation-id"];
    res.setHeader("X-Request-Id", requestId);
    for (const [name, value] of headers) res.setHeader(name, value);
    try {
      checkHeaders(req, res);
      const { path, query } = targetOf(req.url ?? "");
      req.url = path;
      requestContextOf(req).query = query;
      await countAddress(deps, req, path);
      if (deps.cors.handle(req, res, deps.methodsOf)) return;
      const isKnown = METHODS.includes(req.method ?? "");
      if (!isKnown || req.method === "OPTIONS") {
        const methods = deps.methodsOf(path);
        const allow = { Allow: (methods.length > 0 ? methods : READ_METHODS).join(", ") };
        if (isKnown) res.writeHead(204, allow).end();
        else deps.refuse(req, res, fail("METHOD_NOT_ALLOWED"), allow);
        return;
      }
      // Node itself omits the body of an answer to HEAD.
      if (req.method === "HEAD") req.method = "GET";
    } catch (error) {
      deps.refuse(req, res, error);
      return;
    }
    route(req, res);
  };
  return (req: IncomingMessage, res: ServerResponse): Promise<void> =>
    withHttpServerSpan(req, res, () => handle(req, res));
}

/**
 * Refuses ambiguous headers, and closes the connection. A proxy that reads such a request differently may also see a
 * different end of it (request smuggling), so no further request of the connection is accepted. This must happen before
 * the first `await`, because the next request may be in the buffer already.
 */
function checkHeaders(req: IncomingMessage, res: ServerResponse): void {
  try {
    refuseOddHeaders(req);
  } catch (error) {
    res.setHeader("Connection", "close");
    requestContextOf(req).deferredLimits.push(addressOf(req));
    throw error;
  }
}

/** A write of a known operation has further limits after routing; its address is counted together with them. */
async function countAddress(
  { limiter, methodsOf }: RequestListenerDeps,
  req: IncomingMessage,
  path: string,
): Promise<void> {
  const address = addressOf(req);
  if (!isRead(req) && methodsOf(path).includes(req.method ?? "")) await deferCount(limiter, req, address);
  else await countRequest(limiter, req, [address]);
}

function addressOf(req: IncomingMessage): LimitKey {
  return { name: "address", subject: networkOf(requestContextOf(req).clientIp) };
}
