import type { IncomingMessage } from "node:http";
import { fail } from "../../../contracts/errors.ts";
import { parseForeignJson } from "../../../lib/json.ts";
import { FORBIDDEN_NAMES } from "./request-head.ts";

const MAX_DEPTH = 32;
/**
 * A body that is too large is read and discarded up to this size, so that its sender receives the answer: closing a
 * connection with unread bytes resets it, and the answer is lost.
 */
const MAX_DISCARDED_BYTES = 16 * 1024 * 1024;

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
