import { randomBytes } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { fail } from "../../../contracts/errors.ts";
import { isId } from "../../../lib/ids.ts";
import { networkOf } from "../../../lib/net/network-of.ts";
import { nameHttpSpan, traceIdOf, withHttpServerSpan } from "../../../lib/tracing/index.ts";
import type { Limiter, LimitKey } from "../limits/limits.ts";
import { count, countLater, isRead } from "./count-request.ts";
import { baseHeaders, type Cors, refuseOddHeaders, requestIdOf } from "./headers.ts";
import { begin, exchangeOf } from "./request-context.ts";
import { targetOf } from "./target.ts";

export interface FrontDeps {
  limiter: Limiter;
  cors: Cors;
  clientIp: (req: IncomingMessage) => string;
  https: boolean;
  /** The methods that the tables know for a path. */
  methodsOf: (path: string) => readonly string[];
  refuse: Refuse;
}

/** Answers with the problem of an error, before any operation is known. */
export type Refuse = (
  req: IncomingMessage,
  res: ServerResponse,
  error: unknown,
  headers?: Record<string, string>,
) => void;

const READING = ["GET", "HEAD", "OPTIONS"];
const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/**
 * What happens to every request before it is routed, whatever it asks for: it gets its id and its headers, the
 * address is counted, and a target that is not sound goes no further.
 * @param route hands it to the router, with the path alone as its URL
 */
export function front(deps: FrontDeps, route: (req: IncomingMessage, res: ServerResponse) => void) {
  const headers = baseHeaders(deps);
  const enter = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    const requestId = requestIdOf(req);
    begin(req, {
      requestId,
      traceId: nameHttpSpan(req, undefined, requestId) ?? traceIdFor(req, requestId),
      clientIp: deps.clientIp(req),
      isHead: req.method === "HEAD",
      query: {},
      standings: [],
      uncounted: [],
      startedMs: performance.now(),
    });
    // The router takes these for its own context, so they are what we made of them.
    req.headers["x-request-id"] = requestId;
    delete req.headers["x-correlation-id"];
    res.setHeader("X-Request-Id", requestId);
    for (const [name, value] of headers) res.setHeader(name, value);
    try {
      soundHeaders(req, res);
      const { path, query } = targetOf(req.url ?? "");
      req.url = path;
      exchangeOf(req).query = query;
      await countAddress(deps, req, path);
      if (deps.cors.handle(req, res, deps.methodsOf)) return;
      const isKnown = METHODS.includes(req.method ?? "");
      if (!isKnown || req.method === "OPTIONS") {
        const methods = deps.methodsOf(path);
        const allow = { Allow: (methods.length > 0 ? methods : READING).join(", ") };
        if (isKnown) res.writeHead(204, allow).end();
        else deps.refuse(req, res, fail("METHOD_NOT_ALLOWED"), allow);
        return;
      }
      // Node leaves the body of an answer to HEAD away by itself.
      if (req.method === "HEAD") req.method = "GET";
    } catch (error) {
      deps.refuse(req, res, error);
      return;
    }
    route(req, res);
  };
  return (req: IncomingMessage, res: ServerResponse): Promise<void> =>
    withHttpServerSpan(req, res, () => enter(req, res));
}

/** An id to find a request by also where nothing is traced: the one that the client brought, or its request's. */
function traceIdFor(req: IncomingMessage, requestId: string): string {
  const { traceparent } = req.headers;
  const brought = traceIdOf(typeof traceparent === "string" ? traceparent : undefined);
  return brought ?? (isId(requestId) ? requestId.replaceAll("-", "") : randomBytes(16).toString("hex"));
}

/**
 * Who reads a request in another way than we do may also see another end of it: nothing that is read behind it on
 * this connection is taken. It is so before anything is waited for, since the next one may be here already.
 */
function soundHeaders(req: IncomingMessage, res: ServerResponse): void {
  try {
    refuseOddHeaders(req);
  } catch (error) {
    res.setHeader("Connection", "close");
    exchangeOf(req).uncounted.push(addressOf(req));
    throw error;
  }
}

/** An operation of the tables that changes something has further limits, with which its address is counted. */
async function countAddress(
  { limiter, methodsOf }: FrontDeps,
  req: IncomingMessage,
  path: string,
): Promise<void> {
  const address = addressOf(req);
  if (!isRead(req) && methodsOf(path).includes(req.method ?? "")) await countLater(limiter, req, address);
  else await count(limiter, req, [address]);
}

function addressOf(req: IncomingMessage): LimitKey {
  return { name: "address", subject: networkOf(exchangeOf(req).clientIp) };
}
