import type { PushResult } from "./port.ts";

const DETAIL_MAX = 300;

// Answers and error texts may carry anything; what is kept of them is short and printable.
export function shorten(text: string): string {
  const line = text.replace(/[\p{Cc}\p{Cs}\s]+/gu, " ").trim();
  return line.length > DETAIL_MAX ? `${line.slice(0, DETAIL_MAX - 1)}…` : line;
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

/** The outcome of a request that got no answer: refused when it cannot have arrived, else unclear. */
export function withoutAnswer(error: unknown, timeoutMs: number): PushResult {
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
