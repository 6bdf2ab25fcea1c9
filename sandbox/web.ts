import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { foreignHeader } from "../lib/net/foreign-request.ts";

const BODY_MAX_BYTES = 128 * 1024;
const HEADERS_TIMEOUT_MS = 5_000;
const REQUEST_TIMEOUT_MS = 10_000;

export interface WebRequest {
  params: Record<string, string>;
  query: URLSearchParams;
  headers: IncomingHttpHeaders;
  body: string;
}

/** The answer of a handler: one of `html`, `json` and `text`, or `location` alone for a redirect (303). */
export interface WebAnswer {
  status?: number;
  headers?: Record<string, string>;
  html?: Html;
  json?: unknown;
  text?: string;
  location?: string;
}

export type Handler = (request: WebRequest) => Promise<WebAnswer> | WebAnswer;
/** Handlers by method and path, for example `"GET /mails/:id"`. A segment with a colon is a parameter. */
export type Routes = Record<string, Handler>;

/** An error with the HTTP status of its answer. */
export class WebError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Markup that is inserted without escaping. */
export interface Html {
  readonly markup: string;
}

type Content = Html | string | number | undefined | readonly Content[];

/** Template tag for markup. Escapes inserted texts, but not inserted `Html` values and lists of them. */
export function html(parts: TemplateStringsArray, ...values: Content[]): Html {
  return { markup: parts.reduce((text, part, i) => text + markupOf(values[i - 1]) + part) };
}

function markupOf(content: Content): string {
  if (content === undefined) return "";
  if (typeof content === "string" || typeof content === "number") return escapeText(String(content));
  return "markup" in content ? content.markup : content.map(markupOf).join("");
}

const ENTITIES: Record<string, string> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

function escapeText(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character] as string);
}

export interface WebServer {
  url: string;
  stop(): Promise<void>;
}

/**
 * Serves the routes over HTTP. Port 0 means a free port.
 * @throws Error with the code EADDRINUSE when the port is taken
 */
export async function serve(
  routes: Routes,
  { host, port, allowedHosts }: { host: string; port: number; allowedHosts?: string },
): Promise<WebServer> {
  const table = Object.entries(routes).map(([route, handler]) => ({ ...compiled(route), handler }));
  const server = createServer(
    { headersTimeout: HEADERS_TIMEOUT_MS, requestTimeout: REQUEST_TIMEOUT_MS },
    (request, response) => {
      answer(table, request, allowedHosts)
        .catch(failure)
        .then((result) => send(response, result, request.method === "HEAD"))
        .catch(() => response.destroy());
    },
  );
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(port, host, resolve);
  });
  const address = server.address() as AddressInfo;
  const urlHost = host.includes(":") ? `[${host}]` : host;
  return {
    url: `http://${urlHost === "0.0.0.0" || urlHost === "[::]" ? "localhost" : urlHost}:${address.port}`,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

interface Compiled {
  method: string;
  pattern: RegExp;
  handler: Handler;
}

function compiled(route: string) {
  const [method = "", path = ""] = route.split(" ");
  const source = path.replace(/[.]/g, "\\.").replace(/:([a-z]+)/gi, "(?<$1>[^/]+)");
  return { method, pattern: new RegExp(`^${source}/?$`) };
}

async function answer(
  table: Compiled[],
  request: IncomingMessage,
  allowedHosts: string | undefined,
): Promise<WebAnswer> {
  const disallowed = foreignHeader(request.headers, allowedHosts);
  if (disallowed)
    throw new WebError(403, `This ${disallowed} is not allowed here: ALLOWED_HOSTS names those that are.`);
  const url = new URL(request.url ?? "/", "http://sandbox");
  const path = decodeURI(url.pathname);
  const matching = table.filter(({ pattern }) => pattern.test(path));
  const method = request.method === "HEAD" ? "GET" : request.method;
  const route = matching.find((candidate) => candidate.method === method);
  if (!route) throw new WebError(matching.length > 0 ? 405 : 404, "There is nothing here.");
  const params = { ...route.pattern.exec(path)?.groups };
  return route.handler({
    params,
    query: url.searchParams,
    headers: request.headers,
    body: await bodyOf(request),
  });
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += (chunk as Buffer).length;
    if (bytes > BODY_MAX_BYTES) throw new WebError(413, "The body is too large.");
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** The body as a JSON object. @throws WebError 400 for anything else */
export function jsonOf({ body }: WebRequest): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body);
    if (value !== null && typeof value === "object" && !Array.isArray(value)) {
      return value as Record<string, unknown>;
    }
  } catch {
    // Falls through to the error below.
  }
  throw new WebError(400, "The body must be a JSON object.");
}

function failure(error: unknown): WebAnswer {
  if (error instanceof WebError) return { status: error.status, json: { error: error.message } };
  if (error instanceof URIError) return { status: 400, json: { error: "The path cannot be read." } };
  console.error("sandbox:", error);
  return { status: 500, json: { error: "The sandbox failed." } };
}

function send(response: ServerResponse, answer: WebAnswer, headOnly: boolean): void {
  const [type, text] = contentOf(answer);
  response.writeHead(answer.status ?? (answer.location ? 303 : 200), {
    "content-type": `${type}; charset=utf-8`,
    "content-length": Buffer.byteLength(text),
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    // With no-referrer, browsers send "Origin: null" when they submit the forms of these pages.
    "referrer-policy": "same-origin",
    ...(answer.location && { location: answer.location }),
    ...answer.headers,
  });
  response.end(headOnly ? undefined : text);
}

function contentOf({ html: page, json, text = "" }: WebAnswer): [type: string, text: string] {
  if (page) return ["text/html", page.markup];
  if (json !== undefined) return ["application/json", JSON.stringify(json)];
  return ["text/plain", text];
}
