import type { IncomingMessage } from "node:http";
import { fail } from "../../../contracts/errors.ts";
import { parseForeignJson } from "../../../lib/json.ts";
import { FORBIDDEN_NAMES } from "./target.ts";

const MAX_DEPTH = 32;
/**
 * A body that is too large is read on and forgotten up to this size, so that its sender hears the answer: a
 * connection that is closed with unread bytes is reset, and the answer is lost with it.
 */
const MAX_FORGOTTEN_BYTES = 16 * 1024 * 1024;

/** Reads the whole body. @throws PAYLOAD_TOO_LARGE, BAD_REQUEST when the client goes away in the middle */
export async function readBody(req: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const announced = Number(req.headers["content-length"] ?? 0);
  if (announced > MAX_FORGOTTEN_BYTES) throw tooLarge(maxBytes);
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of req as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size <= maxBytes) chunks.push(chunk);
      else chunks.length = 0;
      if (size > MAX_FORGOTTEN_BYTES) break;
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

/** Keeps a byte order mark as what it is, so that two bodies with the same text have the same bytes. */
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The text of these bytes, which no other bytes have; undefined where they are no UTF-8. */
export function textOf(bytes: Buffer): string | undefined {
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
}

/**
 * The value that a body of JSON holds.
 * @throws BAD_JSON for what is no JSON in UTF-8; BAD_REQUEST for values that are nested too deeply, hold a NUL or
 * half a surrogate pair, a name twice in one object, or one that would reach an object's prototype
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
  // Of two fields with one name the last counts here and the first elsewhere: whoever looked at the body on its
  // way may have seen the other one.
  if (inspect(value, 1) !== pairsIn(text)) throw fail("BAD_REQUEST", "An object holds a name twice.");
  return value;
}

/** @returns how many fields there are, in all objects together */
function inspect(value: unknown, depth: number): number {
  if (typeof value === "string") inspectText(value);
  if (typeof value !== "object" || value === null) return 0;
  if (depth > MAX_DEPTH) throw fail("BAD_REQUEST", `The body is nested more than ${MAX_DEPTH} levels deep.`);
  if (Array.isArray(value)) {
    return value.reduce<number>((fields, item) => fields + inspect(item, depth + 1), 0);
  }
  const entries = Object.entries(value);
  let fields = entries.length;
  for (const [name, item] of entries) {
    if (FORBIDDEN_NAMES.has(name)) throw fail("BAD_REQUEST", "A field has a forbidden name.");
    inspectText(name);
    fields += inspect(item, depth + 1);
  }
  return fields;
}

const [QUOTE, COLON, BACKSLASH] = ['"', ":", "\\"].map((character) => character.charCodeAt(0));

/** How many names with their values a text of JSON holds: its colons outside of strings. */
function pairsIn(json: string): number {
  let pairs = 0;
  for (let at = 0; at < json.length; at++) {
    if (json.charCodeAt(at) === COLON) pairs++;
    else if (json.charCodeAt(at) === QUOTE) {
      for (at++; json.charCodeAt(at) !== QUOTE; at++) if (json.charCodeAt(at) === BACKSLASH) at++;
    }
  }
  return pairs;
}

function inspectText(text: string): void {
  if (text.includes("\0") || !text.isWellFormed()) {
    throw fail("BAD_REQUEST", "A text holds a NUL or half a surrogate pair.");
  }
}

/** @throws UNSUPPORTED_MEDIA_TYPE unless the body says that it is one of `types`, in UTF-8, uncompressed */
export function requireMediaType(req: IncomingMessage, types: readonly string[]): void {
  const [type = "", ...parameters] = (req.headers["content-type"] ?? "").toLowerCase().split(";");
  const charsets = parameters.map((text) => text.trim()).filter((text) => /^charset\b/.test(text));
  const isUtf8 = charsets.every((charset) => /^charset=(?:utf-8|"utf-8")$/.test(charset));
  const encoding = req.headers["content-encoding"] ?? "identity";
  if (types.includes(type.trim()) && isUtf8 && encoding === "identity") return;
  throw fail("UNSUPPORTED_MEDIA_TYPE", `Send ${types.join(" or ")}${types.length === 1 ? " in UTF-8" : ""}.`);
}
