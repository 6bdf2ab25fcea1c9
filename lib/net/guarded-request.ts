import { Resolver } from "node:dns/promises";
import { request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { isIP, type LookupFunction } from "node:net";
import { withTimeout } from "../timeout.ts";
import { isLoopbackAddress, isPublicAddress } from "./public-address.ts";

const PORTS = ["", "443", "8443"];
const PRIVATE_NAME = /\.(?:localhost|local|internal)$/;
const RESOLVE_TIMEOUT_MS = 2_000;
const RESOLVE_TRIES = 2;
/** Once the status is known, the body has this long to arrive before we go on without the rest of it. */
const BODY_TIMEOUT_MS = 1_000;
/** The wait for a body ends this long before the call's time limit, so that a status that is known is not lost. */
const BODY_MARGIN_MS = 20;

export interface GuardOptions {
  /** Also this machine itself, by http and on any port. For the sandbox only. */
  allowLoopback: boolean;
  /** All addresses of a host name; unless told otherwise, from the DNS. */
  resolve?: (hostname: string) => Promise<string[]>;
}

/**
 * Why there was no answer: refused by our own rules, out of time, broken on the way, or (`local`) never sent, because this
 * machine had no network, name server or socket for it.
 */
type Kind = "blocked" | "timeout" | "network" | "local";

/** Errors of the operating system that mean: the fault is on this machine. */
const LOCAL_CODES: ReadonlySet<string> = new Set([
  ...["ENETDOWN", "ENETUNREACH", "EADDRNOTAVAIL", "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EACCES", "EPERM"],
]);
/** Errors of the resolver that mean: no name server answers. */
const NO_NAME_SERVER_CODES: ReadonlySet<string> = new Set(["ECONNREFUSED", "ETIMEOUT"]);

export class GuardedRequestError extends Error {
  readonly kind: Kind;

  constructor(kind: Kind, message: string) {
    super(message);
    this.kind = kind;
  }
}

/**
 * What is wrong with a URL that a stranger gave us to call, as far as it can be told without the DNS; undefined
 * when nothing is. The address itself is checked again at every connection.
 */
export function urlTrouble(text: string, options: GuardOptions): string | undefined {
  if (!URL.canParse(text)) return "is not a URL";
  const url = new URL(text);
  if (url.username || url.password) return "must not hold a user name or password";
  const host = hostOf(url);
  if (options.allowLoopback && (host === "localhost" || isLoopbackAddress(host))) {
    return url.protocol === "http:" || url.protocol === "https:" ? undefined : "must start with https://";
  }
  if (url.protocol !== "https:") return "must start with https://";
  if (!PORTS.includes(url.port)) return "must use port 443 or 8443";
  if (isIP(host) ? !isPublicAddress(host) : !isPublicName(host)) return "must be an address of the internet";
  return undefined;
}

export interface GuardedRequest {
  url: string;
  headers: Record<string, string>;
  body: string | Uint8Array;
  /** For the whole call: name, connection, TLS, head and body of the answer. A body may be cut short by it. */
  timeoutMs: number;
  /** How much of the answer's body is wanted; the connection is closed after it. */
  maxBodyBytes: number;
  /** Breaks the call off. */
  signal?: AbortSignal;
}

export interface GuardedResponse {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

/**
 * Posts to a URL that a stranger gave us, so that it cannot reach into our own network: the addresses are
 * checked in the very lookup whose result is connected to (a name that answers differently the second time gains
 * nothing), and redirects are answers like any other.
 * @throws GuardedRequestError when there is no answer
 */
export async function guardedPost(call: GuardedRequest, options: GuardOptions): Promise<GuardedResponse> {
  const trouble = urlTrouble(call.url, options);
  if (trouble) throw new GuardedRequestError("blocked", `the URL ${trouble}`);
  try {
    return await withTimeout(call.timeoutMs, (signal) => guardedExchange(call, options, signal), call.signal);
  } catch (error) {
    throw explained(error as Error, call.timeoutMs);
  }
}

/**
 * The request alone. It holds by itself where the URL was not looked at: whatever is connected to, by name or by number,
 * is checked here. Every way in which Node ends a request is heard: an answer, a change of protocol, an error, and a
 * silent close.
 */
export async function guardedExchange(
  call: GuardedRequest,
  options: GuardOptions,
  signal: AbortSignal,
): Promise<GuardedResponse> {
  const url = new URL(call.url);
  refuseLiteral(url, options);
  const endsAtMs = performance.now() + call.timeoutMs - BODY_MARGIN_MS;
  const { promise, resolve, reject } = Promise.withResolvers<GuardedResponse>();
  const request = (url.protocol === "https:" ? httpsRequest : httpRequest)(url, {
    method: "POST",
    headers: { ...call.headers, "content-length": String(Buffer.byteLength(call.body)) },
    agent: false,
    // So the lookup is always asked for all addresses. The types of Node know the option for sockets only.
    ...{ autoSelectFamily: true },
    lookup: guardedLookup(options),
    signal,
  });
  request.once("error", reject);
  request.once("close", () => reject(new Error("closed without an answer")));
  request.once("upgrade", ({ statusCode, headers }, socket) => {
    socket.destroy();
    resolve({ status: statusCode as number, headers, body: Buffer.from("") });
  });
  request.once("response", (response) => resolve(readHead(response, call.maxBodyBytes, endsAtMs)));
  request.end(call.body);
  return await promise.finally(() => request.destroy());
}

/** Names that only a machine or a network of its own knows, also with the dot of the root behind them. */
function isPublicName(host: string): boolean {
  const name = host.replace(/\.$/, "");
  return name.includes(".") && !PRIVATE_NAME.test(name);
}

function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, "");
}

function guardedLookup(options: GuardOptions): LookupFunction {
  const { resolve = (hostname) => resolveByDns(hostname) } = options;
  return (hostname, _, callback) => {
    resolve(hostname).then(
      (addresses) => {
        const known = addresses.map((address) => ({ address, family: isIP(address) }));
        // One bad address among good ones is a trap, not a slip.
        const wrong = known.length === 0 || known.some(({ address }) => !mayConnect(address, options));
        callback(wrong ? notOfTheInternet(hostname) : null, known);
      },
      (error) => callback(error, []),
    );
  };
}

/**
 * Node looks up no name that is an address already, so that the guard of the lookup never sees it. A URL knows an IPv4
 * address in one spelling only, whatever it was written in.
 */
function refuseLiteral(url: URL, options: GuardOptions): void {
  const host = hostOf(url);
  if (isIP(host) && !mayConnect(host, options)) throw notOfTheInternet(host);
}

function mayConnect(address: string, { allowLoopback }: GuardOptions): boolean {
  return isPublicAddress(address) || (allowLoopback && isLoopbackAddress(address));
}

function notOfTheInternet(hostname: string): GuardedRequestError {
  return new GuardedRequestError("blocked", `${hostname} is not at an address of the internet`);
}

/**
 * Not by getaddrinfo: that has four threads for the whole process, and a name server that never answers would
 * hold them all. It reads no hosts file, so the one name of this machine is known here.
 */
export async function resolveByDns(
  hostname: string,
  resolver = new Resolver({ timeout: RESOLVE_TIMEOUT_MS, tries: RESOLVE_TRIES }),
): Promise<string[]> {
  if (hostname === "localhost") return ["127.0.0.1"];
  const answers = await Promise.allSettled([resolver.resolve4(hostname), resolver.resolve6(hostname)]);
  const addresses = answers.flatMap((answer) => (answer.status === "fulfilled" ? answer.value : []));
  if (addresses.length > 0) return addresses;
  const codes = answers.map((answer) => (answer as PromiseRejectedResult).reason?.code as string);
  if (codes.every((code) => NO_NAME_SERVER_CODES.has(code)) && !(await answersAtAll(resolver))) {
    throw new GuardedRequestError("local", `no name server answers (${codes[0]})`);
  }
  throw new GuardedRequestError("network", `${hostname} has no address`);
}

/** Whether the name server answers about the root of the DNS, which is there whatever became of the name in question. */
async function answersAtAll(resolver: Resolver): Promise<boolean> {
  try {
    await resolver.resolveNs(".");
    return true;
  } catch (error) {
    return !NO_NAME_SERVER_CODES.has((error as { code: string }).code);
  }
}

async function readHead(
  response: IncomingMessage,
  maxBytes: number,
  endsAtMs: number,
): Promise<GuardedResponse> {
  const chunks: Buffer[] = [];
  let size = 0;
  const { promise: full, resolve: done } = Promise.withResolvers<void>();
  response.on("data", (chunk: Buffer) => {
    chunks.push(chunk);
    size += chunk.length;
    if (size >= maxBytes) done();
  });
  for (const event of ["end", "error", "aborted", "close"]) response.once(event, () => done());
  const timer = setTimeout(done, Math.max(1, Math.min(BODY_TIMEOUT_MS, endsAtMs - performance.now())));
  await full;
  clearTimeout(timer);
  const body = Buffer.concat(chunks).subarray(0, maxBytes);
  return { status: response.statusCode as number, headers: response.headers, body };
}

function explained(error: Error & { code?: string }, timeoutMs: number): GuardedRequestError {
  if (error instanceof GuardedRequestError) return error;
  if (error.name === "TimeoutError" || error.name === "AbortError") {
    return new GuardedRequestError("timeout", `no answer within ${timeoutMs} ms`);
  }
  const { code = error.message } = error;
  return new GuardedRequestError(LOCAL_CODES.has(code) ? "local" : "network", code);
}
