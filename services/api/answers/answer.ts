import { hash } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Result } from "../../../contracts/actions.ts";
import { IMAGE_TYPES } from "../../../contracts/media.ts";
import { requestContextOf } from "../edge/request-head.ts";
import type { Endpoint } from "../pipeline/endpoint.ts";
import { BASE_PATH } from "../routes/index.ts";
import type { Problem } from "./problem.ts";
import type { EncodedAnswer } from "./response-cache.ts";

const JSON_TYPE = "application/json; charset=utf-8";
/** Clients may cache the answer and must revalidate it with every request. */
const REVALIDATE = "private, no-cache";
const HASH_LENGTH = 22;

/** Answers with the result of the action in snake_case. An unchanged read is answered with 304. */
export function sendResult(
  endpoint: Endpoint,
  req: IncomingMessage,
  res: ServerResponse,
  result: unknown,
): void {
  const { route } = endpoint;
  const limits = requestContextOf(req).limits.headers();
  if (route.content === "image") {
    sendImage(req, res, result as Result<"media.getAvatar">, limits);
    return;
  }
  const value = endpoint.encode(result) as Record<string, unknown>;
  const headers = { ...limits, ...locationOf(route.location, value) };
  const isEmpty = Object.keys(value).length === 0;
  if (route.success === 204 || (route.success === 202 && isEmpty)) {
    send(res, route.success, headers);
    return;
  }
  const body = JSON.stringify(value);
  const version = typeof value.version === "number" ? value.version : undefined;
  if (route.method === "GET") sendRead(req, res, { body, etag: etagOf(body, version) }, headers);
  // A write also answers the new ETag, so that the next write needs no read.
  else send(res, route.success, { ...headers, ...tagOf(body, version), "Content-Type": JSON_TYPE }, body);
}

const tagOf = (body: string, version: number | undefined): Record<string, string> =>
  version === undefined ? {} : { ETag: etagOf(body, version) };

/** The body and the ETag of a result. */
export function encodeAnswer(endpoint: Endpoint, result: unknown): EncodedAnswer {
  const body = Buffer.from(JSON.stringify(endpoint.encode(result)));
  return { body, etag: etagOf(body) };
}

/**
 * The entity tag of an answer: the version of the resource, if it has one, and a digest of the representation.
 * If-None-Match compares the whole tag, because a customer and a partner see the same version differently. If-Match
 * compares only the version.
 */
export function etagOf(body: string | Buffer, version?: number): string {
  const digest = hash("sha1", body, "base64url").slice(0, HASH_LENGTH);
  return version === undefined ? `"${digest}"` : `"${version}-${digest}"`;
}

/** Whether the client has the current representation, by the weak comparison of RFC 9110, section 13.1.2. */
export function isFresh(ifNoneMatch: string | undefined, etag: string): boolean {
  if (!ifNoneMatch) return false;
  if (ifNoneMatch.trim() === "*") return true;
  return ifNoneMatch.split(",").some((tag) => tag.trim().replace(/^W\//, "") === etag);
}

/** Answers a read with JSON, or with 304 if the client has the same version. */
export function sendRead(
  req: IncomingMessage,
  res: ServerResponse,
  { body, etag }: { body: string | Buffer; etag: string },
  more: Record<string, string> = requestContextOf(req).limits.headers(),
): void {
  const headers = { ...more, ETag: etag, "Cache-Control": REVALIDATE };
  if (isFresh(req.headers["if-none-match"], etag)) send(res, 304, headers);
  else send(res, 200, { ...headers, "Content-Type": JSON_TYPE }, body);
}

function sendImage(
  req: IncomingMessage,
  res: ServerResponse,
  { base64, contentType, etag }: Result<"media.getAvatar">,
  limits: Record<string, string>,
): void {
  const headers = { ...limits, ETag: `"${etag.replaceAll('"', "")}"`, "Cache-Control": REVALIDATE };
  if (isFresh(req.headers["if-none-match"], headers.ETag)) send(res, 304, headers);
  else send(res, 200, { ...headers, "Content-Type": imageType(contentType) }, Buffer.from(base64, "base64"));
}

/** Only image types: a stored type must not make a browser execute the content. */
function imageType(type: string): string {
  return (IMAGE_TYPES as readonly string[]).includes(type) ? type : "application/octet-stream";
}

function locationOf(template: string | undefined, value: Record<string, unknown>): Record<string, string> {
  if (!template) return {};
  const path = template.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(String(value[name])));
  return { Location: `${BASE_PATH}${path}` };
}

const CLOSE = { Connection: "close" };

/** Whether the client still sends a body that is not read. The connection must then be closed. */
function isUnread(req: IncomingMessage): boolean {
  return !req.complete && (Number(req.headers["content-length"]) > 0 || "transfer-encoding" in req.headers);
}

export function sendProblem(
  req: IncomingMessage,
  res: ServerResponse,
  { status, headers, document }: Problem,
  more: Record<string, string> = {},
): void {
  const limits = requestContextOf(req).limits.headers();
  send(
    res,
    status,
    {
      ...limits,
      ...headers,
      ...more,
      ...(isUnread(req) && CLOSE),
      "Content-Type": "application/problem+json",
    },
    JSON.stringify(document),
  );
}

/** Sends a complete answer, unless another one has started. */
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
