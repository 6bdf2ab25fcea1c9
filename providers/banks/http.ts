import { type BoundedAnswer, boundedFetch } from "../../lib/net/bounded-fetch.ts";
import { BankError } from "./port.ts";

const TIMEOUT_MS = 5_000;
const ANSWER_LIMIT_BYTES = 65_536;

export interface BankRequest {
  method: "GET" | "POST";
  url: URL;
  headers: Record<string, string>;
  body?: object;
  timeoutMs?: number | undefined;
}

/**
 * Sends one JSON request to a bank. It follows no redirect, so that the merchant's key is sent only to the configured
 * address.
 * @returns the parsed body; undefined for 404
 * @throws BankError: `refused` when the bank rejects this request, `unclear` when a repeat may succeed
 */
export async function exchange({ method, url, headers, body, timeoutMs }: BankRequest): Promise<unknown> {
  let answer: BoundedAnswer;
  try {
    answer = await boundedFetch(url, {
      method,
      headers: { ...headers, ...(body && { "content-type": "application/json" }) },
      body: body ? JSON.stringify(body) : null,
      timeoutMs: Math.min(timeoutMs ?? TIMEOUT_MS, TIMEOUT_MS),
      maxBodyBytes: ANSWER_LIMIT_BYTES,
    });
  } catch (error) {
    throw new BankError("unclear", `no answer from ${url.host}: ${reasonOf(error)}`, false);
  }
  const { status } = answer;
  if (status === 404) return undefined;
  if (status > 299) {
    throw new BankError(isDefinite(status) ? "refused" : "unclear", `answered ${status}`);
  }
  try {
    return JSON.parse(answer.text);
  } catch {
    throw new BankError("unclear", "answered something that is not JSON");
  }
}

/**
 * Whether the status rejects this request for good. A wrong key or a redirect is an error of the configuration, which
 * an operator can correct. Many banks answer 409 while the first request with the same key is still running.
 */
function isDefinite(status: number): boolean {
  return status >= 400 && status < 500 && ![401, 403, 408, 409, 425, 429].includes(status);
}

/** fetch hides the reason (refused, reset) one level down. */
function reasonOf(error: unknown): string {
  const { name, message, cause } = error as Error & { cause?: { code?: string } };
  return name === "TimeoutError" ? "timeout" : (cause?.code ?? message);
}
