import type { IncomingMessage } from "node:http";
import { fail } from "../../../contracts/errors.ts";
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

const utf8 = new TextDecoder("utf-8", { fatal: true });

/**
 * The value that a body of JSON holds.
 * @throws BAD_JSON for what is no JSON; BAD_REQUEST for values that are nested too deeply, hold a NUL or half a
 * surrogate pair, or a name that would reach an object's prototype
 */
export function parseJson(bytes: Buffer): unknown {
  let value: unknown;
  try {
    value = JSON.parse(utf8.decode(bytes));
  } catch {
    throw fail("BAD_JSON");
  }
  inspect(value, 1);
  return value;
}

function inspect(value: unknown, depth: number): void {
  if (typeof value === "string") inspectText(value);
  if (typeof value !== "object" || value === null) return;
  if (depth > MAX_DEPTH) throw fail("BAD_REQUEST", `The body is nested more than ${MAX_DEPTH} levels deep.`);
  if (Array.isArray(value)) {
    for (const item of value) inspect(item, depth + 1);
    return;
  }
  for (const [name, item] of Object.entries(value)) {
    if (FORBIDDEN_NAMES.has(name)) throw fail("BAD_REQUEST", "A field has a forbidden name.");
    inspectText(name);
    inspect(item, depth + 1);
  }
}

function inspectText(text: string): void {
  if (text.includes("\0") || !text.isWellFormed()) {
    throw fail("BAD_REQUEST", "A text holds a NUL or half a surrogate pair.");
  }
}

/** @throws UNSUPPORTED_MEDIA_TYPE unless the body says that it is one of `types`, in UTF-8, uncompressed */
export function requireMediaType(req: IncomingMessage, types: readonly string[]): void {
  const [type = "", ...parameters] = (req.headers["content-type"] ?? "").toLowerCase().split(";");
  const charset = parameters.map((text) => text.trim()).find((text) => text.startsWith("charset="));
  const isUtf8 = charset === undefined || /^charset="?utf-8"?$/.test(charset);
  const encoding = req.headers["content-encoding"] ?? "identity";
  if (types.includes(type.trim()) && isUtf8 && encoding === "identity") return;
  throw fail("UNSUPPORTED_MEDIA_TYPE", `Send ${types.join(" or ")}${types.length === 1 ? " in UTF-8" : ""}.`);
}
