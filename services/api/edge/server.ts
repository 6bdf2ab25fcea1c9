import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse, STATUS_CODES } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { fail } from "../../../contracts/errors.ts";
import { networkOf } from "../../../lib/net/network-of.ts";
import { nameHttpSpan, withHttpServerSpan } from "../../../lib/tracing/index.ts";
import type { Problem } from "../answers/problem.ts";
import { type Limiter, type LimitKey, requestLimits } from "../limits/limits.ts";
import type { Router } from "../routes/index.ts";
import {
  baseHeaders,
  type Cors,
  MAX_HEADERS,
  refuseOddHeaders,
  requestContextOf,
  requestIdOf,
  setRequestContext,
  targetOf,
  traceIdFor,
} from "./request-head.ts";

const MAX_HEADER_BYTES = 16 * 1024;
const MAX_CONNECTIONS = 10_000;
const IDLE_CHECK_INTERVAL_MS = 20;

/** Time limits for clients. */
export interface ServerTimeouts {
  headersMs: number;
  requestMs: number;
  keepAliveMs: number;
  /** Interval of the search for connections that exceed a limit. */
  checkIntervalMs: number;
  /** Time for running requests after the server has stopped listening. */
  closeGraceMs: number;
}

export const DEFAULT_TIMEOUTS: ServerTimeouts = {
  headersMs: 5_000,
  requestMs: 20_000,
  // Proxies keep connections for 60 s. With a shorter time here, a POST could arrive on a closing connection.
  keepAliveMs: 65_000,
  checkIntervalMs: 1_000,
  closeGraceMs: 5_000,
};

export interface EdgeServer {
  readonly listening: boolean;
  /** @returns the port. @throws Error with the code EADDRINUSE when it is taken */
  listen(port: number, host: string): Promise<number>;
  /** Stops listening, waits for running requests, and closes connections after `closeGraceMs`. */
  close(): Promise<void>;
}

/**
 * The HTTP server in front of the router, with a limit on every resource that a client can occupy.
 * @param problemFor makes the answer, with all its headers, to a request that the server could not read
 */
export function edgeServer(
  onRequest: (req: IncomingMessage, res: ServerResponse) => void,
  problemFor: (error: Error) => Problem,
  timeouts: ServerTimeouts = DEFAULT_TIMEOUTS,
): EdgeServer {
  const server = createServer(
    {
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: timeouts.headersMs,
      requestTimeout: timeouts.requestMs,
      keepAliveTimeout: timeouts.keepAliveMs,
      connectionsCheckingInterval: timeouts.checkIntervalMs,
      // Node would refuse without a problem document; `refuseOddHeaders` checks the header.
      requireHostHeader: false,
    },
    accept,
  );
  server.maxConnections = MAX_CONNECTIONS;
  // One more than allowed, so that `refuseOddHeaders` can detect too many.
  server.maxHeadersCount = MAX_HEADERS + 1;
  let closing = false;
  const lastAnswers = new WeakMap<Socket, ServerResponse>();
  function accept(req: IncomingMessage, res: ServerResponse): void {
    // After `Connection: close` no further request of the connection is answered.
    if (lastAnswers.get(req.socket)?.getHeader("Connection") === "close") return;
    if (closing) res.setHeader("Connection", "close");
    lastAnswers.set(req.socket, res);
    onRequest(req, res);
  }
  // Node would answer 417 without a problem document. A server may ignore expectations.
  server.on("checkExpectation", accept);
  server.on("connect", (_req: IncomingMessage, socket: Socket) => {
    refuse(socket, problemFor(fail("METHOD_NOT_ALLOWED", "This is no proxy.")), { Allow: "GET" });
  });
  server.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) => {
    const answer = lastAnswers.get(socket);
    // An error answer now would become part of a started answer, or be read as the answer to an earlier request.
    const isAnswering =
      answer !== undefined && !answer.writableFinished && (answer.headersSent || answer.req.complete);
    if (isAnswering) socket.destroy();
    else refuse(socket, problemFor(unreadable(error.code)));
  });
  return {
    get listening() {
      return server.listening;
    },
    async listen(port, host) {
      await once(server.listen(port, host), "listening");
      return (server.address() as AddressInfo).port;
    },
    async close() {
      closing = true;
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      // Connections become idle one by one as their requests end, so this repeats.
      const idle = setInterval(() => server.closeIdleConnections(), IDLE_CHECK_INTERVAL_MS);
      const closeAll = setTimeout(() => server.closeAllConnections(), timeouts.closeGraceMs);
      await closed;
      clearInterval(idle);
      clearTimeout(closeAll);
    },
  };
}

/** Writes an answer directly to the socket, and closes it. */
function refuse(
  socket: Socket,
  { status, headers, document }: Problem,
  more: Record<string, string> = {},
): void {
  const body = JSON.stringify(document);
  const fields = Object.entries({
    ...headers,
    ...more,
    "Content-Type": "application/problem+json",
    "Content-Length": String(Buffer.byteLength(body)),
    Connection: "close",
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.on("error", () => socket.destroy());
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${fields.join("")}\r\n${body}`);
}

function unreadable(code: string | undefined): Error {
  if (code === "HPE_HEADER_OVERFLOW") return fail("HEADERS_TOO_LARGE", `At most ${MAX_HEADER_BYTES} bytes.`);
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") return fail("REQUEST_TOO_SLOW");
  return fail("BAD_REQUEST", "This is not HTTP/1.1.");
}

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
      limits: requestLimits(deps.limiter, !isRead(req)),
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
    requestContextOf(req).limits.defer(addressOf(req));
    throw error;
  }
}

/**
 * A write of a known operation has further limits after routing; its address is counted together with them. A client
 * whose budget is exhausted is refused here, before any other work.
 * @throws TOO_MANY_REQUESTS
 */
async function countAddress(
  { limiter, methodsOf }: RequestListenerDeps,
  req: IncomingMessage,
  path: string,
): Promise<void> {
  const { limits } = requestContextOf(req);
  const address = addressOf(req);
  const isKnownWrite = !isRead(req) && methodsOf(path).includes(req.method ?? "");
  if (isKnownWrite && !limiter.isExhausted(address)) limits.defer(address);
  else await limits.count([address]);
}

/** Reads change nothing, so their limits need no exact counting. */
function isRead(req: IncomingMessage): boolean {
  return req.method === "GET" || req.method === "HEAD" || req.method === "OPTIONS";
}

function addressOf(req: IncomingMessage): LimitKey {
  return { name: "address", subject: networkOf(requestContextOf(req).clientIp) };
}
