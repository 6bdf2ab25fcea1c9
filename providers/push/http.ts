import { charactersOf, shortenLine } from "../../lib/text.ts";
import type { PushResult } from "./port.ts";

const DETAIL_MAX = 300;

/** Makes a foreign text short and printable. */
export function shorten(text: string): string {
  return shortenLine(text, DETAIL_MAX);
}

// Errors of a connection that was never established, so the request was not processed.
const NEVER_SENT = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT",
]);

/** How long a provider keeps a push for a phone that is offline, in seconds. A day later, it is out of date. */
export const KEPT_FOR_S = 86_400;

/** A push was certainly not sent. The message is for the operator. */
export class NotSentError extends Error {}

/** The result of a request without an answer: refused when it cannot have arrived, else unclear. */
export function withoutAnswer(error: unknown, timeoutMs: number): PushResult {
  if (error instanceof NotSentError) return { outcome: "refused", detail: shorten(error.message) };
  const { name, cause, message } = error as Error & { cause?: { code?: string } };
  if (name === "TimeoutError") return { outcome: "unclear", detail: `no answer within ${timeoutMs} ms` };
  const code = cause?.code ?? (error as { code?: string }).code;
  if (code && NEVER_SENT.has(code)) return { outcome: "refused", detail: `not reached (${code})` };
  return { outcome: "unclear", detail: shorten(code ?? message) };
}

/**
 * The outcome for an HTTP status where the body says nothing more exact. A 5xx is unclear, because the push may have
 * been sent; a 503 comes before that.
 */
export function byStatus(status: number): PushResult["outcome"] {
  if (status >= 200 && status < 300) return "accepted";
  return status >= 500 && status !== 503 ? "unclear" : "refused";
}

/**
 * The wait of a `Retry-After` header in milliseconds; undefined when there is none.
 * @param nowMs Unix time, for a header with a date (RFC 9110, section 10.2.3)
 */
export function retryAfterMs(header: string | null | undefined, nowMs: number): number | undefined {
  if (!header) return undefined;
  const waitMs = /^\d{1,9}$/.test(header) ? Number(header) * 1_000 : Date.parse(header) - nowMs;
  return waitMs > 0 ? waitMs : undefined;
}

/** Parses a JSON object; an empty object for everything else. */
export function parsedObject(body: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

/**
 * Cuts a text between two characters and adds "…" if it is too large.
 * @param sizeOf the size in bytes of the payload with this text
 */
export function fitted(text: string, sizeOf: (text: string) => number, maxBytes: number): string {
  if (sizeOf(text) <= maxBytes) return text;
  const characters = charactersOf(text);
  const cut = (count: number) => `${characters.slice(0, count).join("").trimEnd()}…`;
  let fits = 0;
  let tooMany = characters.length;
  while (tooMany - fits > 1) {
    const middle = Math.floor((fits + tooMany) / 2);
    if (sizeOf(cut(middle)) <= maxBytes) fits = middle;
    else tooMany = middle;
  }
  return cut(fits);
}
