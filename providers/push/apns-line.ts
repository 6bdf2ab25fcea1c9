import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from "node:http2";
import { NotSentError } from "./http.ts";

const PING_EVERY_MS = 60_000;
/** Apple wants lines kept open, not one an hour; what has had no push for so long is closed all the same. */
const IDLE_MS = 60 * 60_000;
const CLOSE_MS = 1_000;
/** A connection that is not made by then is given up, and the next request tries anew. */
const CONNECT_MS = 1_000;
const ANSWER_MAX_BYTES = 16_384;

export interface LineRequest {
  path: string;
  headers: Readonly<Record<string, string>>;
  body: string;
  timeoutMs: number;
}

export interface LineAnswer {
  status: number;
  headers: Readonly<Record<string, string | string[] | undefined>>;
  body: string;
  /** Leaves the session that it came by: the next request opens another one, those on their way end on this one. */
  leave(): void;
}

/** The other side was leaving and has not looked at the request: it may be made on another session. */
export class TurnedAwayError extends NotSentError {}

interface Link {
  session: ClientHttp2Session;
  connected: boolean;
  openedMs: number;
  usedMs: number;
  /** When the ping that is on its way was sent. */
  pingedMs: number | undefined;
  timer: NodeJS.Timeout;
}

/**
 * One long-lived HTTP/2 session to a server: opened by the first request, and by the next one after the server has
 * left (GOAWAY) or the connection is lost. A ping finds out that it is lost where nobody says so.
 */
export function http2Line(url: string) {
  const links = new Set<Link>();
  let current: Link | undefined;
  let closed = false;

  function open(): Link {
    if (closed) throw new NotSentError("the line is closed");
    if (current && !current.session.closed && !current.session.destroyed) return current;
    const session = connect(url, { settings: { enablePush: false } });
    const link: Link = {
      session,
      connected: false,
      openedMs: performance.now(),
      usedMs: performance.now(),
      pingedMs: undefined,
      timer: setInterval(() => look(link), PING_EVERY_MS).unref(),
    };
    links.add(link);
    current = link;
    session.once("connect", () => {
      link.connected = true;
    });
    session.once("goaway", () => leave(link));
    session.once("close", () => {
      clearInterval(link.timer);
      links.delete(link);
      leave(link);
    });
    // Its requests hear of it.
    session.on("error", () => undefined);
    return link;
  }

  function leave(link: Link): void {
    if (link === current) current = undefined;
    if (!link.session.closed && !link.session.destroyed) link.session.close();
  }

  return {
    /**
     * @throws NotSentError when the request cannot have arrived (TurnedAwayError when another session may take it),
     *   Error named TimeoutError when no answer came in time, any other Error when it broke off
     */
    async request(request: LineRequest): Promise<LineAnswer> {
      const link = open();
      link.usedMs = performance.now();
      const half = setTimeout(() => ping(link), request.timeoutMs / 2);
      try {
        return { ...(await answerOf(link, request)), leave: () => leave(link) };
      } catch (error) {
        if (isDead(link, request.timeoutMs)) link.session.destroy();
        throw error;
      } finally {
        clearTimeout(half);
      }
    },
    /** Ends all sessions. Later requests throw NotSentError. */
    async close(): Promise<void> {
      closed = true;
      await Promise.all([...links].map(({ session }) => closedSoon(session)));
    },
  };
}

export type Http2Line = ReturnType<typeof http2Line>;

type Received = Omit<LineAnswer, "leave">;

function answerOf(link: Link, { path, headers, body, timeoutMs }: LineRequest): Promise<Received> {
  const { promise, resolve, reject } = Promise.withResolvers<Received>();
  const stream = streamOf(link, { ":method": "POST", ":path": path, ...headers });
  const chunks: Buffer[] = [];
  let size = 0;
  let head: LineAnswer["headers"] | undefined;
  let why: Error | undefined;
  const timer = setTimeout(() => {
    reject(link.connected ? timedOut(timeoutMs) : new NotSentError(`not reached within ${timeoutMs} ms`));
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
    else reject(broken(link, stream.rstCode, why));
  });
  stream.end(body);
  return promise;
}

function streamOf({ session }: Link, headers: Record<string, string>): ClientHttp2Stream {
  try {
    return session.request(headers);
  } catch (error) {
    // The session was left in this very moment.
    throw new TurnedAwayError((error as { code?: string }).code ?? (error as Error).message);
  }
}

function broken({ connected }: Link, rstCode: number | undefined, why: Error | undefined): Error {
  // Why a session could not be opened stands behind the cancelling of its requests.
  const { code: ofStream, cause } = (why ?? {}) as { code?: string; cause?: { code?: string } };
  const code = cause?.code ?? ofStream ?? `stream ended by ${rstCode}`;
  if (!connected) return new NotSentError(`not reached (${code})`);
  if (rstCode === constants.NGHTTP2_REFUSED_STREAM) return new TurnedAwayError(`not taken (${code})`);
  // Its code alone would say "never connected" of a network that went away in the middle.
  return new Error(code);
}

/** Not connected in time, or silent to a ping as well: whoever tries again is to find another session. */
function isDead({ connected, openedMs, pingedMs }: Link, timeoutMs: number): boolean {
  const nowMs = performance.now();
  if (!connected) return nowMs - openedMs > CONNECT_MS;
  return pingedMs !== undefined && nowMs - pingedMs > timeoutMs / 4;
}

function timedOut(timeoutMs: number): Error {
  return Object.assign(new Error(`no answer within ${timeoutMs} ms`), { name: "TimeoutError" });
}

function look(link: Link): void {
  if (performance.now() - link.usedMs > IDLE_MS) link.session.close();
  else if (link.pingedMs !== undefined) link.session.destroy();
  else ping(link);
}

function ping(link: Link): void {
  if (link.pingedMs !== undefined || link.session.destroyed || link.session.connecting) return;
  link.pingedMs = performance.now();
  link.session.ping(() => {
    link.pingedMs = undefined;
  });
}

async function closedSoon(session: ClientHttp2Session): Promise<void> {
  if (session.destroyed) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  session.once("close", resolve);
  const impatience = setTimeout(() => session.destroy(), CLOSE_MS);
  session.close();
  await promise;
  clearTimeout(impatience);
}
