import { createServer, type IncomingMessage, type ServerResponse, STATUS_CODES } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { fail } from "../../../contracts/errors.ts";
import type { Problem } from "../problem.ts";

const MAX_HEADER_BYTES = 16 * 1024;
const MAX_HEADERS = 100;
const MAX_CONNECTIONS = 10_000;
const HEADERS_TIMEOUT_MS = 5_000;
const REQUEST_TIMEOUT_MS = 20_000;
const KEEP_ALIVE_TIMEOUT_MS = 15_000;
/** How often connections are looked through for those that are too slow. */
const TIMEOUT_CHECK_INTERVAL_MS = 1_000;
/** How long running requests may take after the server stopped to listen. */
const CLOSE_GRACE_MS = 5_000;

export interface EdgeServer {
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
): EdgeServer {
  const server = createServer(
    {
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
      connectionsCheckingInterval: TIMEOUT_CHECK_INTERVAL_MS,
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
      server.closeIdleConnections();
      const cut = setTimeout(() => server.closeAllConnections(), CLOSE_GRACE_MS);
      await closed;
      clearTimeout(cut);
    },
  };
}

function unreadable(code: string | undefined): Error {
  if (code === "HPE_HEADER_OVERFLOW") return fail("HEADERS_TOO_LARGE", `At most ${MAX_HEADER_BYTES} bytes.`);
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") return fail("REQUEST_TOO_SLOW");
  return fail("BAD_REQUEST", "This is not HTTP/1.1.");
}
