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
/** After the status, the body is read for at most this time. The rest of it is then left out. */
const BODY_TIMEOUT_MS = 1_000;
/** Reading the body ends this time before the time limit of the call, so that the received status is not lost. */
const BODY_MARGIN_MS = 20;

export interface GuardOptions {
  /** Also allows this machine, by http and on any port. Only for the sandbox. */
  allowLoopback: boolean;
  /** Finds all addresses of a host name. Default: by DNS. */
  resolve?: (hostname: string) => Promise<string[]>;
}

/**
 * Why there is no response: `blocked` by the rules of this file, `timeout`, `network` for an error of the connection, or
 * `local` if the request was not sent, because this machine has no network, name server or socket for it.
 */
type Kind = "blocked" | "timeout" | "network" | "local";

/** Errors of the operating system whose cause is on this machine. */
const LOCAL_CODES: ReadonlySet<string> = new Set([
  ...["ENETDOWN", "ENETUNREACH", "EADDRNOTAVAIL", "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EACCES", "EPERM"],
]);
/** Errors of the resolver without an answer of a name server. */
const NO_NAME_SERVER_CODES: ReadonlySet<string> = new Set(["ECONNREFUSED", "ETIMEOUT"]);

export class GuardedRequestError extends Error {
  readonly kind: Kind;

  constructor(kind: Kind, message: string) {
    super(message);
    this.kind = kind;
  }
}

/**
 * Checks a URL that a third party gave us to call, without DNS. The address itself is checked at every connection.
 * @returns a text that completes "the URL …"; undefined when the URL is allowed
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
  /** Time limit of the whole call: DNS, connection, TLS, head and body of the response. It may cut the body short. */
  timeoutMs: number;
  /** The maximum size of the body that is read. The connection is closed after it. */
  maxBodyBytes: number;
  /** Aborts the call. */
  signal?: AbortSignal;
}

export interface GuardedResponse {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

/**
 * Posts to a URL that a third party gave us and protects our own network from it. The addresses are checked in the same
 * lookup whose result is used for the connection, so a name whose addresses change between two lookups has no effect
 * (DNS rebinding). Redirects are returned and not followed.
 * @throws GuardedRequestError when there is no response
 */
export async function guardedPost(call: GuardedRequest, options: GuardOptions): Promise<GuardedResponse> {
  const trouble = urlTrouble(call.url, options);
  if (trouble) throw new GuardedRequestError("blocked", `the URL ${trouble}`);
  try {
    return await withTimeout(call.timeoutMs, (signal) => guardedExchange(call, options, signal), call.signal);
  } catch (error) {
    throw asGuardedRequestError(error as Error, call.timeoutMs);
  }
}

/**
 * The request without the check of the URL. It is safe without that check: each address of a connection is checked here,
 * also one that the URL contains. It handles each way in which Node ends a request: a response, a change of protocol, an
 * error, and a close without a response.
 */
export async function guardedExchange(
  call: GuardedRequest,
  options: GuardOptions,
  signal: AbortSignal,
): Promise<GuardedResponse> {
  const url = new URL(call.url);
  refuseBlockedAddress(url, options);
  const endsAtMs = performance.now() + call.timeoutMs - BODY_MARGIN_MS;
  const { promise, resolve, reject } = Promise.withResolvers<GuardedResponse>();
  const request = (url.protocol === "https:" ? httpsRequest : httpRequest)(url, {
    method: "POST",
    headers: { ...call.headers, "content-length": String(Buffer.byteLength(call.body)) },
    agent: false,
    // With it, the lookup must return all addresses. The types of Node have the option only for sockets.
    ...{ autoSelectFamily: true },
    lookup: guardedLookup(options),
    signal,
  });
  request.once("error", reject);
  request.once("close", () => reject(new Error("closed without a response")));
  request.once("upgrade", ({ statusCode, headers }, socket) => {
    socket.destroy();
    resolve({ status: statusCode as number, headers, body: Buffer.from("") });
  });
  request.once("response", (response) => resolve(readHead(response, call.maxBodyBytes, endsAtMs)));
  request.end(call.body);
  return await promise.finally(() => request.destroy());
}

/** Whether the name is not one of a machine or local network, also with the dot of the root at its end. */
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
        // One address that is not allowed refuses all: a correct name has none, so it is an attack.
        const wrong = known.length === 0 || known.some(({ address }) => !mayConnect(address, options));
        callback(wrong ? notOfTheInternet(hostname) : null, known);
      },
      (error) => callback(error, []),
    );
  };
}

/**
 * Checks a host that is an IP address. Node does not call the lookup for it, so the lookup cannot check it. `URL` has
 * converted other spellings of an IPv4 address to the usual one.
 */
function refuseBlockedAddress(url: URL, options: GuardOptions): void {
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
 * Not by getaddrinfo: it has four threads for the whole process, and a name server that never answers would block all of
 * them. The resolver does not read the hosts file, so `localhost` is resolved here.
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
  if (codes.every((code) => NO_NAME_SERVER_CODES.has(code)) && !(await hasNameServer(resolver))) {
    throw new GuardedRequestError("local", `no name server answers (${codes[0]})`);
  }
  throw new GuardedRequestError("network", `${hostname} has no address`);
}

/** Whether the name server answers a query for the root of the DNS, which always exists. */
async function hasNameServer(resolver: Resolver): Promise<boolean> {
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

function asGuardedRequestError(error: Error & { code?: string }, timeoutMs: number): GuardedRequestError {
  if (error instanceof GuardedRequestError) return error;
  if (error.name === "TimeoutError" || error.name === "AbortError") {
    return new GuardedRequestError("timeout", `no answer within ${timeoutMs} ms`);
  }
  const { code = error.message } = error;
  return new GuardedRequestError(LOCAL_CODES.has(code) ? "local" : "network", code);
}
