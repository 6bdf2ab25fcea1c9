import { createServer, type IncomingMessage, type ServerResponse, STATUS_CODES } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { fail } from "../../../contracts/errors.ts";
import type { Problem } from "../problem.ts";

const MAX_HEADER_BYTES = 16 * 1024;
const MAX_HEADERS = 100;
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
  keepAliveMs: 15_000,
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
 * @param problemFor the answer to a request that was not even read
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
      requireHostHeader: true,
    },
    (req, res) => {
      if (closing) res.setHeader("Connection", "close");
      onRequest(req, res);
    },
  );
  server.maxConnections = MAX_CONNECTIONS;
  server.maxHeadersCount = MAX_HEADERS;
  let closing = false;
  server.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) => {
    if (error.code === "ECONNRESET" || !socket.writable) {
      socket.destroy();
      return;
    }
    const { status, document } = problemFor(unreadable(error.code));
    const body = JSON.stringify(document);
    socket.end(
      `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Type: application/problem+json\r\n` +
        `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
    );
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

function unreadable(code: string | undefined): Error {
  if (code === "HPE_HEADER_OVERFLOW") return fail("HEADERS_TOO_LARGE", `At most ${MAX_HEADER_BYTES} bytes.`);
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") return fail("REQUEST_TOO_SLOW");
  return fail("BAD_REQUEST", "This is not HTTP/1.1.");
}
