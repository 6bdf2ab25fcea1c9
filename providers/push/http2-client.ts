import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from "node:http2";
import { NotSentError } from "./http.ts";

const PING_EVERY_MS = 60_000;
/** Apple asks for long-lived connections. One without a push for this time is closed. */
const IDLE_MS = 60 * 60_000;
const CLOSE_MS = 1_000;
/** After this, a connection attempt is given up, and the next request starts another one. */
const CONNECT_MS = 1_000;
const ANSWER_MAX_BYTES = 16_384;

export interface Http2Request {
  path: string;
  headers: Readonly<Record<string, string>>;
  body: string;
  timeoutMs: number;
}

export interface Http2Answer {
  status: number;
  headers: Readonly<Record<string, string | string[] | undefined>>;
  body: string;
  /** Closes this answer's session after its pending requests; the next request opens another session. */
  leave(): void;
}

/** The server was closing the session and has not processed the request: it can be repeated on another session. */
export class NotProcessedError extends NotSentError {}

interface Connection {
  session: ClientHttp2Session;
  connected: boolean;
  openedMs: number;
  usedMs: number;
  /** Time of the unanswered ping. */
  pingedMs: number | undefined;
  timer: NodeJS.Timeout;
}

/**
 * A client with one long-lived HTTP/2 session to a server. The first request opens it, and so does the next one after
 * GOAWAY or a lost connection. Pings detect a connection that was lost without notice.
 */
export function http2Client(url: string) {
  const connections = new Set<Connection>();
  let current: Connection | undefined;
  let closed = false;

  function open(): Connection {
    if (closed) throw new NotSentError("the client is closed");
    if (current && !current.session.closed && !current.session.destroyed) return current;
    const session = connect(url, { settings: { enablePush: false } });
    const connection: Connection = {
      session,
      connected: false,
      openedMs: performance.now(),
      usedMs: performance.now(),
      pingedMs: undefined,
      timer: setInterval(() => checkAlive(connection), PING_EVERY_MS).unref(),
    };
    connections.add(connection);
    current = connection;
    session.once("connect", () => {
      connection.connected = true;
    });
    session.once("goaway", () => leave(connection));
    session.once("close", () => {
      clearInterval(connection.timer);
      connections.delete(connection);
      leave(connection);
    });
    session.on("error", () => undefined); // every pending request gets the error too
    return connection;
  }

  function leave(connection: Connection): void {
    if (connection === current) current = undefined;
    if (!connection.session.closed && !connection.session.destroyed) connection.session.close();
  }

  return {
    /**
     * @throws NotSentError when the request cannot have arrived (NotProcessedError when it can be repeated on another
     *   session), an Error named TimeoutError without an answer in time, another Error when the connection broke
     */
    async request(request: Http2Request): Promise<Http2Answer> {
      const connection = open();
      connection.usedMs = performance.now();
      const half = setTimeout(() => ping(connection), request.timeoutMs / 2);
      try {
        return { ...(await answerOf(connection, request)), leave: () => leave(connection) };
      } catch (error) {
        if (isDead(connection, request.timeoutMs)) connection.session.destroy();
        throw error;
      } finally {
        clearTimeout(half);
      }
    },
    /** Ends all sessions. Later requests throw NotSentError. */
    async close(): Promise<void> {
      closed = true;
      await Promise.all([...connections].map(({ session }) => closeSession(session)));
    },
  };
}

export type Http2Client = ReturnType<typeof http2Client>;

type Received = Omit<Http2Answer, "leave">;

function answerOf(
  connection: Connection,
  { path, headers, body, timeoutMs }: Http2Request,
): Promise<Received> {
  const { promise, resolve, reject } = Promise.withResolvers<Received>();
  const stream = streamOf(connection, { ":method": "POST", ":path": path, ...headers });
  const chunks: Buffer[] = [];
  let size = 0;
  let head: Http2Answer["headers"] | undefined;
  let why: Error | undefined;
  const timer = setTimeout(() => {
    reject(
      connection.connected ? timedOut(timeoutMs) : new NotSentError(`not reached within ${timeoutMs} ms`),
    );
    stream.close(constants.NGHTTP2_CANCEL);
  }, timeoutMs);
  stream.on("response", (received) => {
    head = received;
  });
  stream.on("data", (chunk: Buffer) => {
    size += chunk.length;
    if (size <= ANSWER_MAX_BYTES) chunks.push(chunk);
    else stream.close(constants.NGHTTP2_CANCEL);
  });
  stream.on("error", (error) => {
    why = error;
  });
  stream.once("close", () => {
    clearTimeout(timer);
    if (head)
      resolve({ status: Number(head[":status"]), headers: head, body: Buffer.concat(chunks).toString() });
    else reject(broken(connection, stream.rstCode, why));
  });
  stream.end(body);
  return promise;
}

function streamOf({ session }: Connection, headers: Record<string, string>): ClientHttp2Stream {
  try {
    return session.request(headers);
  } catch (error) {
    // The session was closed at this moment.
    throw new NotProcessedError((error as { code?: string }).code ?? (error as Error).message);
  }
}

function broken({ connected }: Connection, rstCode: number | undefined, why: Error | undefined): Error {
  // When a session could not be opened, the cause is below the cancellation of its requests.
  const { code: ofStream, cause } = (why ?? {}) as { code?: string; cause?: { code?: string } };
  const code = cause?.code ?? ofStream ?? `stream ended by ${rstCode}`;
  if (!connected) return new NotSentError(`not reached (${code})`);
  if (rstCode === constants.NGHTTP2_REFUSED_STREAM) return new NotProcessedError(`not taken (${code})`);
  // A plain Error: with its code, such as ENETUNREACH, it would look like a request that was never sent.
  return new Error(code);
}

/** Whether it did not connect in time or left a ping unanswered: the next request then opens another session. */
function isDead({ connected, openedMs, pingedMs }: Connection, timeoutMs: number): boolean {
  const nowMs = performance.now();
  if (!connected) return nowMs - openedMs > CONNECT_MS;
  return pingedMs !== undefined && nowMs - pingedMs > timeoutMs / 4;
}

function timedOut(timeoutMs: number): Error {
  return Object.assign(new Error(`no answer within ${timeoutMs} ms`), { name: "TimeoutError" });
}

function checkAlive(connection: Connection): void {
  if (performance.now() - connection.usedMs > IDLE_MS) connection.session.close();
  else if (connection.pingedMs !== undefined) connection.session.destroy();
  else ping(connection);
}

function ping(connection: Connection): void {
  if (connection.pingedMs !== undefined || connection.session.destroyed || connection.session.connecting)
    return;
  connection.pingedMs = performance.now();
  connection.session.ping(() => {
    connection.pingedMs = undefined;
  });
}

async function closeSession(session: ClientHttp2Session): Promise<void> {
  if (session.destroyed) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  session.once("close", resolve);
  const timer = setTimeout(() => session.destroy(), CLOSE_MS);
  session.close();
  await promise;
  clearTimeout(timer);
}
