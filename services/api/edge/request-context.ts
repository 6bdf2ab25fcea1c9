import type { IncomingMessage, ServerResponse } from "node:http";
import type { LimitKey, LimitStatus } from "../limits/limits.ts";

/** What the edge found out about a request before it was routed. */
export interface RequestContext {
  requestId: string;
  clientIp: string;
  /** Whether the headers alone were asked for: the request is routed as a GET. */
  isHead: boolean;
  query: Record<string, string>;
  /** How the client stands with the limits that were counted so far. */
  standings: LimitStatus[];
  /** What is counted together with the limits that come to light only after routing. */
  uncounted: LimitKey[];
  startedMs: number;
  /** Of the trace that the request belongs to. */
  traceId: string;
}

// In the request itself: with a WeakMap beside all requests a read cost some 3 of 54 us more.
const EXCHANGE = Symbol("exchange");
type Entered = IncomingMessage & { [EXCHANGE]?: RequestContext };

export function begin(req: Entered, exchange: RequestContext): void {
  req[EXCHANGE] = exchange;
}

/** @throws Error for a request that did not come in by the edge */
export function exchangeOf(req: Entered): RequestContext {
  const exchange = req[EXCHANGE];
  if (!exchange) throw new Error("the request did not come in by the edge");
  return exchange;
}

/** Sends a whole answer, unless one has begun already. */
export function send(
  res: ServerResponse,
  status: number,
  headers: Record<string, string>,
  body?: string | Buffer,
): void {
  if (res.headersSent || res.destroyed) return;
  const length = body === undefined ? undefined : Buffer.byteLength(body);
  res.writeHead(status, { ...headers, ...(length !== undefined && { "Content-Length": String(length) }) });
  res.end(body);
}
