import { charactersOf, shortenLine } from "../../lib/text.ts";
import type { PushResult } from "./port.ts";

const DETAIL_MAX = 300;

// Answers and error texts may carry anything; what is kept of them is short and printable.
export function shorten(text: string): string {
  return shortenLine(text, DETAIL_MAX);
}

// The connection was never made, so the request cannot have been carried out.
const NEVER_SENT = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT",
]);

/** How long a provider keeps a push for a phone that is off, in seconds. After a day, news of an order are old. */
export const KEPT_FOR_S = 86_400;

/** Why a push cannot have been sent, in words for the operator. */
export class NotSentError extends Error {}

/** The outcome of a request that got no answer: refused when it cannot have arrived, else unclear. */
export function withoutAnswer(error: unknown, timeoutMs: number): PushResult {
  if (error instanceof NotSentError) return { outcome: "refused", detail: shorten(error.message) };
  const { name, cause, message } = error as Error & { cause?: { code?: string } };
  if (name === "TimeoutError") return { outcome: "unclear", detail: `no answer within ${timeoutMs} ms` };
  const code = cause?.code ?? (error as { code?: string }).code;
  if (code && NEVER_SENT.has(code)) return { outcome: "refused", detail: `not reached (${code})` };
  return { outcome: "unclear", detail: shorten(code ?? message) };
}

/**
 * The outcome that an HTTP status stands for where the body says nothing more exact. A 5xx may come after the
 * work was done, so it is unclear; 503 is said before.
 */
export function byStatus(status: number): PushResult["outcome"] {
  if (status >= 200 && status < 300) return "accepted";
  return status >= 500 && status !== 503 ? "unclear" : "refused";
}

/**
 * How long a `Retry-After` asks to wait, in milliseconds; undefined when it does not.
 * @param nowMs Unix time, for those that name a moment (RFC 9110, section 10.2.3)
 */
export function retryAfterMs(header: string | null | undefined, nowMs: number): number | undefined {
  if (!header) return undefined;
  const waitMs = /^\d{1,9}$/.test(header) ? Number(header) * 1_000 : Date.parse(header) - nowMs;
  return waitMs > 0 ? waitMs : undefined;
}

/** The JSON object that a body holds; an empty one where it holds anything else. */
export function parsedObject(body: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

/**
 * A text as it is, or cut between two characters and ended by "…" so that what is made of it keeps within a limit.
 * @param sizeOf the bytes of what is made of a text
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
