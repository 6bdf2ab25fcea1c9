import { createHash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { type FieldError, fail } from "../../../contracts/errors.ts";
import { HEIF_REFUSED, IMAGE_TYPES } from "../../../contracts/media.ts";
import type { Meta } from "../../../contracts/meta.ts";
import { VERSION_MAX } from "../../../contracts/schema.ts";
import { shortenLine } from "../../../lib/text.ts";
import { parseJson, readBody, requireMediaType, textOf } from "../edge/body.ts";
import { requestContextOf } from "../edge/request-context.ts";
import type { Endpoint, RequestPart } from "./endpoint.ts";

const HEIF_TYPE = /^\s*image\/(?:heic|heif|avif)\b/i;
const MAX_USER_AGENT_LENGTH = 300;
/** Plain text, or a string of RFC 9651 in quotes. */
export const IDEMPOTENCY_KEY = /^(?:"([\x20\x21\x23-\x7e]{1,255})"|([\x21\x23-\x7e]{1,255}))$/;
/** Headers that a signature can depend on; the adapters of banks and partners select from them. */
const SIGNED_HEADERS = /^(?:webhook-|stripe-)|^content-type$/;

export interface ParsedRequest {
  /** The parameters of the action. */
  params: Record<string, unknown>;
  /** The body as received. */
  raw?: Buffer;
}

/**
 * Reads the request into the parameters of its action. Every value is validated by the schema that the client sees, so
 * invalid input causes no call, and errors name the fields as they were sent.
 * @param inPath the values of the path's placeholders, decoded
 * @throws NOT_FOUND for a path with an invalid id, VALIDATION_ERROR, BAD_JSON, BAD_REQUEST,
 * UNSUPPORTED_MEDIA_TYPE, PAYLOAD_TOO_LARGE, PRECONDITION_FAILED
 */
export async function readRequest(
  endpoint: Endpoint,
  req: IncomingMessage,
  inPath: Record<string, string>,
): Promise<ParsedRequest> {
  const path = { ...inPath };
  // BAD_SIGNATURE, so that a sender without a secret cannot find out which ids exist.
  if (endpoint.path.check(path).length > 0) {
    throw fail(endpoint.route.access === "signed" ? "BAD_SIGNATURE" : "NOT_FOUND");
  }
  const { values: query, wrong } = queryValues(endpoint.query, requestContextOf(req).query);
  const body = await readFields(endpoint, req);
  const errors = [...wrong, ...body.errors];
  if (errors.length > 0 && endpoint.route.access === "signed") throw fail("BAD_SIGNATURE");
  if (errors.length > 0) throw fail("VALIDATION_ERROR", undefined, { errors, asSent: true });
  const params = {
    ...endpoint.query.decode(query),
    ...body.fields,
    ...endpoint.path.decode(path),
    ...fromHeaders(endpoint, req),
  };
  return { params, ...(body.raw && { raw: body.raw }) };
}

/** Numbers as in JSON. `Number` alone would also accept " 1", "0x1" and "". */
const JSON_NUMBER = /^-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?$/;

/** Converts texts of the query to numbers where the schema requires a number. */
function queryValues(part: RequestPart, query: Record<string, string>) {
  const values: Record<string, unknown> = { ...query };
  for (const [name, rule] of Object.entries(part.rule.props)) {
    const text = query[name];
    if (text !== undefined && rule.type === "number")
      values[name] = JSON_NUMBER.test(text) ? Number(text) : Number.NaN;
  }
  return { values, wrong: part.check(values) };
}

interface Fields {
  fields: Record<string, unknown>;
  errors: FieldError[];
  raw?: Buffer;
}

async function readFields({ body }: Endpoint, req: IncomingMessage): Promise<Fields> {
  if (!body) return { fields: {}, errors: [] };
  const { kind, field = "" } = body;
  if (kind === "image") {
    if (HEIF_TYPE.test(req.headers["content-type"] ?? "")) throw fail("UNSUPPORTED_MEDIA_TYPE", HEIF_REFUSED);
    requireMediaType(req, IMAGE_TYPES);
    const raw = await readBody(req, body.maxBytes);
    if (raw.length === 0) throw fail("IMAGE_INVALID", "The body is empty.");
    return { fields: { [field]: raw.toString("base64") }, errors: [], raw };
  }
  const raw = await readBody(req, body.maxBytes);
  if (kind === "signed") {
    const text = textOf(raw);
    // A decoder that replaces invalid bytes would give different bodies the same text, and so the same signature.
    if (text === undefined) throw fail("BAD_SIGNATURE");
    return { fields: { [field]: text }, errors: [], raw };
  }
  const part = body.part as RequestPart;
  const value = raw.length === 0 && body.mayBeAbsent ? {} : parsed(req, raw);
  const errors = part.check(value);
  if (errors.length > 0) return { fields: {}, errors };
  const decoded = part.decode(value);
  return { fields: field ? nest(field, decoded, body.siblings) : decoded, errors: [], raw };
}

/** Puts the fields of the body into `field`, except those of `siblings`. */
function nest(field: string, decoded: Record<string, unknown>, siblings: readonly string[] = []) {
  const isSibling = ([name]: [string, unknown]) => siblings.includes(name);
  const entries = Object.entries(decoded);
  return {
    [field]: Object.fromEntries(entries.filter((entry) => !isSibling(entry))),
    ...Object.fromEntries(entries.filter(isSibling)),
  };
}

function parsed(req: IncomingMessage, raw: Buffer): unknown {
  requireMediaType(req, ["application/json"]);
  return parseJson(raw);
}

function fromHeaders({ versioned, route }: Endpoint, req: IncomingMessage): Record<string, unknown> {
  const ifMatch = req.headers["if-match"];
  // Callbacks have no conditions, and a sender without a secret gets no answer but BAD_SIGNATURE.
  if (!versioned && route.access !== "signed") refuseCondition(ifMatch);
  const version = versioned ? expectedVersion(ifMatch) : undefined;
  const userAgent = route.action === "identity.signIn" ? userAgentOf(req) : undefined;
  return {
    ...(version !== undefined && { expectedVersion: version }),
    ...(userAgent && { userAgent }),
    ...(route.access === "signed" && { headers: signedHeaders(req) }),
  };
}

function userAgentOf(req: IncomingMessage): string {
  const text = req.headers["user-agent"] ?? "";
  return shortenLine(text, MAX_USER_AGENT_LENGTH);
}

function signedHeaders(req: IncomingMessage): Record<string, string> {
  const pairs = Object.entries(req.headers).filter(([name]) => SIGNED_HEADERS.test(name));
  return Object.fromEntries(pairs.map(([name, value]) => [name, String(value)]));
}

/** `*` or entity tags: RFC 9110, section 13.1.1. */
export const IF_MATCH = /^(?:\*|(?:W\/)?"[\x21\x23-\x7e]*"(?: *, *(?:W\/)?"[\x21\x23-\x7e]*")*)$/;

/** Our tag, also as compressing proxies change it: to a weak tag, or with a suffix ("…-gzip"). */
const OUR_ETAG = /^(?:W\/)?"(\d{1,10})(?:-[\w-]+)?"$/;

/**
 * The version that the client wants to change; undefined without a condition and for `*`. Weak tags are accepted,
 * against RFC 9110, because our version is the same for every encoding of the answer.
 * @throws BAD_REQUEST if the header is no entity tag, PRECONDITION_FAILED for a tag that this API never sends
 */
export function expectedVersion(ifMatch: string | undefined): number | undefined {
  if (ifMatch === undefined || ifMatch.trim() === "*") return undefined;
  if (!IF_MATCH.test(ifMatch.trim())) throw fail("BAD_REQUEST", "If-Match holds no ETag.");
  const version = OUR_ETAG.exec(ifMatch.trim())?.[1];
  if (version === undefined || Number(version) < 1 || Number(version) > VERSION_MAX) {
    throw fail("PRECONDITION_FAILED", "If-Match does not hold the ETag of this resource.");
  }
  return Number(version);
}

/**
 * Refuses If-Match for an operation that compares no version, because the client would rely on it. `*` is accepted: it
 * only requires that the resource exists, which the operation checks itself.
 * @throws BAD_REQUEST
 */
export function refuseCondition(ifMatch: string | undefined): void {
  if (ifMatch === undefined || ifMatch.trim() === "*") return;
  throw fail("BAD_REQUEST", "This operation compares no version: leave If-Match out.");
}

/**
 * Makes the meta of the call. Meta is written nowhere else.
 * @param body the bytes as received; their hash detects a repeated Idempotency-Key with another body
 * @throws BAD_REQUEST, IDEMPOTENCY_KEY_REQUIRED
 */
export function metaOf(
  endpoint: Endpoint,
  req: IncomingMessage,
  token: string | undefined,
  body: Buffer | undefined,
): Meta {
  const { requestId, clientIp } = requestContextOf(req);
  const key = idempotencyKeyOf(endpoint, req);
  return {
    requestId,
    clientIp,
    ...(token !== undefined && { token }),
    ...(key !== undefined && { idempotency: { key, bodyHash: hashOf(req, body) } }),
  };
}

function idempotencyKeyOf({ idempotencyKey }: Endpoint, req: IncomingMessage): string | undefined {
  if (idempotencyKey === "never") return undefined;
  const header = req.headers["idempotency-key"];
  if (header === undefined) {
    if (idempotencyKey === "required")
      throw fail("IDEMPOTENCY_KEY_REQUIRED", "Any unique text, e.g. a UUID.");
    return undefined;
  }
  const [, quoted, bare] = IDEMPOTENCY_KEY.exec(String(header)) ?? [];
  const key = quoted ?? bare;
  if (key === undefined)
    throw fail("BAD_REQUEST", "Idempotency-Key takes 1 to 255 visible ASCII characters.");
  return key;
}

/** Includes method and path: the same key for another resource is a different request. */
function hashOf(req: IncomingMessage, body: Buffer | undefined): string {
  const hash = createHash("sha256").update(`${req.method} ${req.url}\n`);
  if (body) hash.update(body);
  return hash.digest("hex");
}
