import { createServer, type IncomingMessage, type ServerResponse, STATUS_CODES } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { fail } from "../../../contracts/errors.ts";
import type { Problem } from "../answers/problem.ts";
import { MAX_HEADERS } from "./headers.ts";

const MAX_HEADER_BYTES = 16 * 1024;
const MAX_CONNECTIONS = 10_000;
const IDLE_CHECK_INTERVAL_MS = 20;

/** How long a client may take. */
export interface Patience {
  headersMs: number;
  requestMs: number;
  keepAliveMs: number;
  /** How often connections are looked through for those that are too slow. */
  checkIntervalMs: number;
  /** How long running requests may go on after the server stopped to listen. */
  closeGraceMs: number;
}

const PATIENCE: Patience = {
  headersMs: 5_000,
  requestMs: 20_000,
  // Proxies keep theirs for 60 s: were ours shorter, a POST could meet a connection that is just being closed.
  keepAliveMs: 65_000,
  checkIntervalMs: 1_000,
  closeGraceMs: 5_000,
};

export interface EdgeServer {
  readonly listening: boolean;
  /** @returns the port. @throws Error with the code EADDRINUSE when it is taken */
  listen(port: number, host: string): Promise<number>;
  /** Stops to listen, lets running requests end, and cuts off those that take too long. */
  close(): Promise<void>;
}

/**
 * The HTTP server in front of the router, with a limit on everything that a client can make it wait for or keep.
 * @param problemFor the answer, with all its headers, to a request that was not even read
 */
export function edgeServer(
  onRequest: (req: IncomingMessage, res: ServerResponse) => void,
  problemFor: (error: Error) => Problem,
  patience: Patience = PATIENCE,
): EdgeServer {
  const server = createServer(
    {
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: patience.headersMs,
      requestTimeout: patience.requestMs,
      keepAliveTimeout: patience.keepAliveMs,
      connectionsCheckingInterval: patience.checkIntervalMs,
      // Node would refuse it by itself, in its own words; the front does.
      requireHostHeader: false,
    },
    take,
  );
  server.maxConnections = MAX_CONNECTIONS;
  // One more than is allowed, so that too many are told from enough.
  server.maxHeadersCount = MAX_HEADERS + 1;
  let closing = false;
  const answering = new WeakMap<Socket, ServerResponse>();
  function take(req: IncomingMessage, res: ServerResponse): void {
    // Whoever was told that the connection ends with an answer gets no other one on it.
    if (answering.get(req.socket)?.getHeader("Connection") === "close") return;
    if (closing) res.setHeader("Connection", "close");
    answering.set(req.socket, res);
    onRequest(req, res);
  }
  // Node would answer 417 by itself, in its own words; nobody has to understand an expectation.
  server.on("checkExpectation", take);
  server.on("connect", (_req: IncomingMessage, socket: Socket) => {
    refuse(socket, problemFor(fail("METHOD_NOT_ALLOWED", "This is no proxy.")), { Allow: "GET" });
  });
  server.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) => {
    const answer = answering.get(socket);
    // Bytes of ours would be read as a part of the answer that has begun, or as the one to the request before.
    const isTaken =
      answer !== undefined && !answer.writableFinished && (answer.headersSent || answer.req.complete);
    if (error.code === "ECONNRESET" || !socket.writable || isTaken) socket.destroy();
    else refuse(socket, problemFor(unreadable(error.code)));
  });
  return {
    get listening() {
      return server.listening && !closing;
    },
    async listen(port, host) {
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        server.listen(port, host, () => {
          server.off("error", reject);
          resolve();
        });
      });
      return (server.address() as AddressInfo).port;
    },
    async close() {
      closing = true;
      if (!server.listening) return;
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      // A connection becomes idle when its last request has been answered, so one look is not enough.
      const idle = setInterval(() => server.closeIdleConnections(), IDLE_CHECK_INTERVAL_MS);
      const cut = setTimeout(() => server.closeAllConnections(), patience.closeGraceMs);
      await closed;
      clearInterval(idle);
      clearTimeout(cut);
    },
  };
}

/** Answers on the bare connection, and closes it. */
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
