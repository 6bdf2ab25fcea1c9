import { createHash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { callbackHeaders, STANDARD_WEBHOOK_HEADERS } from "../../../contracts/banks.ts";
import { type FieldError, fail } from "../../../contracts/errors.ts";
import { HEIF_REFUSED, IMAGE_TYPES } from "../../../contracts/media.ts";
import type { Meta } from "../../../contracts/meta.ts";
import { VERSION_MAX } from "../../../contracts/schema.ts";
import { parseForeignJson } from "../../../lib/json.ts";
import { shortenLine } from "../../../lib/text.ts";
import { FORBIDDEN_NAMES, requestContextOf } from "../edge/request-head.ts";
import type { RequestPart } from "./codec.ts";
import type { Endpoint } from "./endpoint.ts";

const HEIF_TYPE = /^\s*image\/(?:heic|heif|avif)\b/i;
const MAX_USER_AGENT_LENGTH = 300;
/** Plain text, or a string of RFC 9651 in quotes. */
export const IDEMPOTENCY_KEY = /^(?:"([\x20\x21\x23-\x7e]{1,255})"|([\x21\x23-\x7e]{1,255}))$/;
const MAX_DEPTH = 32;
/**
 * A body that is too large is read and discarded up to this size, so that its sender receives the answer: closing a
 * connection with unread bytes resets it, and the answer is lost.
 */
const MAX_DISCARDED_BYTES = 16 * 1024 * 1024;
/** Headers that a signature can depend on; the adapters of banks and partners select from them. */
const SIGNED_HEADERS: ReadonlySet<string> = new Set([
  ...["content-type", ...STANDARD_WEBHOOK_HEADERS],
  ...Object.values(callbackHeaders).flat(),
]);

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
  if (errorsIn(endpoint.path, path).length > 0) {
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
  return { values, wrong: errorsIn(part, values) };
}

/** The invalid fields of the path or the query. Most operations have no fields there, and most requests send none. */
function errorsIn({ rule, check }: RequestPart, values: Record<string, unknown>): FieldError[] {
  return isEmpty(rule.props) && isEmpty(values) ? [] : check(values);
}

function isEmpty(fields: object): boolean {
  return Object.keys(fields).length === 0;
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

/** Reads the whole body. @throws PAYLOAD_TOO_LARGE; BAD_REQUEST if the client disconnects before its end */
export async function readBody(req: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const announced = Number(req.headers["content-length"] ?? 0);
  if (announced > MAX_DISCARDED_BYTES) throw tooLarge(maxBytes);
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of req as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size <= maxBytes) chunks.push(chunk);
      else chunks.length = 0;
      if (size > MAX_DISCARDED_BYTES) break;
    }
  } catch {
    throw fail("BAD_REQUEST", "The body ended too early.");
  }
  if (size > maxBytes) throw tooLarge(maxBytes);
  return chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
}

function tooLarge(maxBytes: number): Error {
  return fail("PAYLOAD_TOO_LARGE", `At most ${maxBytes} bytes.`);
}

/** Does not remove a byte order mark, so that bodies with the same text have the same bytes. */
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The text of the bytes; undefined if they are not UTF-8. Different bytes never have the same text. */
export function textOf(bytes: Buffer): string | undefined {
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
}

/**
 * Parses a JSON body.
 * @throws BAD_JSON if it is not JSON in UTF-8; BAD_REQUEST for nesting that is too deep, a NUL, half a surrogate pair,
 * a repeated name in one object, or a name that reaches a prototype
 */
export function parseJson(bytes: Buffer): unknown {
  let text: string;
  let value: unknown;
  try {
    text = utf8.decode(bytes);
    value = parseForeignJson(text);
  } catch {
    throw fail("BAD_JSON");
  }
  // Parsers disagree about which of two fields with the same name counts. A proxy that inspected the body may have
  // read the other one.
  if (countFields(value, 1) !== countNames(text)) throw fail("BAD_REQUEST", "An object holds a name twice.");
  return value;
}

/** Checks all names and texts. @returns the number of fields in all objects together */
function countFields(value: unknown, depth: number): number {
  if (typeof value === "string") checkText(value);
  if (typeof value !== "object" || value === null) return 0;
  if (depth > MAX_DEPTH) throw fail("BAD_REQUEST", `The body is nested more than ${MAX_DEPTH} levels deep.`);
  if (Array.isArray(value)) {
    return value.reduce<number>((fields, item) => fields + countFields(item, depth + 1), 0);
  }
  const entries = Object.entries(value);
  let fields = entries.length;
  for (const [name, item] of entries) {
    if (FORBIDDEN_NAMES.has(name)) throw fail("BAD_REQUEST", "A field has a forbidden name.");
    checkText(name);
    fields += countFields(item, depth + 1);
  }
  return fields;
}

const [QUOTE, COLON, BACKSLASH] = ['"', ":", "\\"].map((character) => character.charCodeAt(0));

/** The number of names in a JSON text, repeated ones included: its colons outside of strings. */
function countNames(json: string): number {
  let pairs = 0;
  for (let at = 0; at < json.length; at++) {
    if (json.charCodeAt(at) === COLON) pairs++;
    else if (json.charCodeAt(at) === QUOTE) {
      for (at++; json.charCodeAt(at) !== QUOTE; at++) if (json.charCodeAt(at) === BACKSLASH) at++;
    }
  }
  return pairs;
}

function checkText(text: string): void {
  if (text.includes("\0") || !text.isWellFormed()) {
    throw fail("BAD_REQUEST", "A text holds a NUL or half a surrogate pair.");
  }
}

/** @throws UNSUPPORTED_MEDIA_TYPE unless Content-Type is one of `types`, in UTF-8, uncompressed */
export function requireMediaType(req: IncomingMessage, types: readonly string[]): void {
  const [type = "", ...parameters] = (req.headers["content-type"] ?? "").toLowerCase().split(";");
  const charsets = parameters.map((text) => text.trim()).filter((text) => /^charset\b/.test(text));
  const isUtf8 = charsets.every((charset) => /^charset=(?:utf-8|"utf-8")$/.test(charset));
  const encoding = req.headers["content-encoding"] ?? "identity";
  if (types.includes(type.trim()) && isUtf8 && encoding === "identity") return;
  throw fail("UNSUPPORTED_MEDIA_TYPE", `Send ${types.join(" or ")}${types.length === 1 ? " in UTF-8" : ""}.`);
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
  const pairs = Object.entries(req.headers).filter(([name]) => SIGNED_HEADERS.has(name));
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
