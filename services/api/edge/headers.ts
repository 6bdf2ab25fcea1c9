import type { IncomingMessage, ServerResponse } from "node:http";
import { fail } from "../../../contracts/errors.ts";
import { newId } from "../../../lib/ids.ts";
import type { Router } from "./router.ts";

/** Maximum number of header fields of a request. Node would silently drop further ones. */
export const MAX_HEADERS = 100;
/** Fields that must not occur twice: programs disagree about which of the two counts. */
const SINGLE_HEADERS: ReadonlySet<string> = new Set([
  "authorization",
  "content-encoding",
  "content-length",
  "content-type",
  "host",
  "idempotency-key",
  "if-match",
  "last-event-id",
  "webhook-id",
  "webhook-timestamp",
]);
const PREFLIGHT_MAX_AGE_SECONDS = 600;
const REQUEST_ID = /^[\w.:-]{1,128}$/;

/** The client's X-Request-Id, or a new id if it sent none that is safe to log. */
export function requestIdOf(req: IncomingMessage): string {
  const given = req.headers["x-request-id"];
  return typeof given === "string" && REQUEST_ID.test(given) ? given : newId();
}

/**
 * @throws HEADERS_TOO_LARGE for too many fields; BAD_REQUEST for a repeated field of `SINGLE_HEADERS`, and for HTTP/1.1
 * without Host
 */
export function refuseOddHeaders({ rawHeaders, headers, httpVersion }: IncomingMessage): void {
  if (rawHeaders.length > 2 * MAX_HEADERS) throw fail("HEADERS_TOO_LARGE", `At most ${MAX_HEADERS} fields.`);
  const seen = new Set<string>();
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = (rawHeaders[index] as string).toLowerCase();
    if (!SINGLE_HEADERS.has(name)) continue;
    if (seen.has(name)) throw fail("BAD_REQUEST", `The header ${name} comes twice.`);
    seen.add(name);
  }
  if (headers.host === undefined && httpVersion !== "1.0") throw fail("BAD_REQUEST", "There is no Host.");
}

/** Headers of every answer. Routes that serve pages set their own content security policy. */
export function baseHeaders(options: { https: boolean }): [name: string, value: string][] {
  return [
    ["X-Content-Type-Options", "nosniff"],
    ["Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"],
    ["Referrer-Policy", "no-referrer"],
    ["Cache-Control", "no-store"],
    ...(options.https ? [["Strict-Transport-Security", "max-age=31536000"] as [string, string]] : []),
  ];
}

const EXPOSED = "ETag, Location, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id";
const ALLOWED =
  "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, Traceparent, X-Request-Id";

export interface Cors {
  /**
   * Sets the CORS headers for pages of an allowed origin, and answers preflights.
   * @returns whether the request was a preflight and has been answered
   */
  handle(req: IncomingMessage, res: ServerResponse, methodsOf: Router<unknown>["methodsOf"]): boolean;
}

/** @param origins the origins whose pages may read answers; browsers refuse pages of any other origin */
export function cors(origins: readonly string[]): Cors {
  const allowed = new Set(origins);
  return {
    handle(req, res, methodsOf) {
      const { origin } = req.headers;
      if (allowed.size > 0) res.setHeader("Vary", "Origin");
      const preflight =
        req.method === "OPTIONS" && req.headers["access-control-request-method"] !== undefined;
      if (origin !== undefined && allowed.has(origin)) {
        res.setHeader("Access-Control-Allow-Origin", origin);
        res.setHeader("Access-Control-Expose-Headers", EXPOSED);
        if (preflight) {
          res.setHeader("Access-Control-Allow-Methods", methodsOf(req.url ?? "/").join(", "));
          res.setHeader("Access-Control-Allow-Headers", ALLOWED);
          res.setHeader("Access-Control-Max-Age", PREFLIGHT_MAX_AGE_SECONDS);
        }
      }
      if (preflight) res.writeHead(204).end();
      return preflight;
    },
  };
}
