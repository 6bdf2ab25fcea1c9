import { boundedFetch } from "../../lib/net/bounded-fetch.ts";
import { withTimeout } from "../../lib/timeout.ts";
import { BankError } from "./port.ts";

const ANSWER_LIMIT_BYTES = 2_000_000;
/** Maximum for each call to a bank (port.ts). */
export const TIMEOUT_MS = 5_000;

/** The fields that we read of an error of Stripe's library. We do not log its message: it may contain the key. */
interface StripeFailure {
  type?: string;
  code?: string;
  param?: string;
  statusCode?: number;
  headers?: Record<string, string>;
}

/** Maximum number of requests: under the key and under the keys derived from it. Stripe deletes a key after a day. */
const KEYS_MAX = 5;
const SERVER_ERROR = 500;
/** A further request needs at least this time. */
const REQUEST_MIN_MS = 500;

/**
 * Waits for an answer of Stripe and maps its errors. `refused`: Stripe rejects this request (a bad parameter, nothing
 * left to refund, a declined card). `unclear`: the request may have succeeded or may succeed later (no answer, a rate
 * limit, the first request with the same key still running, a wrong API key, an error of Stripe's own). An
 * `idempotency_error` (the key was used with other parameters) is `unclear` too: the first request may have succeeded.
 * @throws BankError
 */
export async function mapped<T>(answer: Promise<T>, timeoutMs = TIMEOUT_MS): Promise<T> {
  try {
    return await withTimeout(timeoutMs, () => answer);
  } catch (error) {
    if (error instanceof BankError) throw error;
    const { type, code, param, statusCode } = error as StripeFailure;
    const isDefinite = type === "StripeInvalidRequestError" || type === "StripeCardError";
    const words = [statusCode ?? "no answer", code ?? type ?? (error as Error).name, param].filter(Boolean);
    throw new BankError(
      isDefinite ? "refused" : "unclear",
      `Stripe: ${words.join(" ")}`,
      statusCode !== undefined,
    );
  }
}

/**
 * Makes a request under an idempotency key. Stripe stores its first answer to a key for a day and replays even its own
 * errors (docs.stripe.com/api/idempotent_requests): under that key the request would not run again. A replayed error
 * means that the first request has ended, so the request is made under the next key.
 * @param done finds the result if the first request succeeded in spite of its error
 * @throws BankError
 */
export async function underKeys<T>(
  key: string,
  timeoutMs: number,
  make: (options: { idempotencyKey: string; timeout: number }) => Promise<T>,
  done: () => Promise<T | undefined> = async () => undefined,
): Promise<T> {
  const untilMs = performance.now() + timeoutMs;
  for (let number = 1; ; number++) {
    const idempotencyKey = number === 1 ? key : `${key}-${number}`;
    const leftMs = Math.round(untilMs - performance.now());
    if (leftMs < REQUEST_MIN_MS && number > 1) throw new BankError("unclear", "Stripe: no time left");
    try {
      return await withTimeout(leftMs, () => make({ idempotencyKey, timeout: leftMs }));
    } catch (error) {
      if (!repeatsOwnError(error as StripeFailure) || number === KEYS_MAX) {
        return mapped(Promise.reject(error));
      }
    }
    const found = await done();
    if (found) return found;
  }
}

function repeatsOwnError({ statusCode = 0, headers }: StripeFailure): boolean {
  return statusCode >= SERVER_ERROR && headers?.["idempotent-replayed"] === "true";
}

/** fetch that follows no redirect, which would receive the merchant's key, and limits the size of the answer. */
export const limitedFetch: typeof fetch = async (url, init) => {
  const { status, headers, text } = await boundedFetch(url as string | URL, {
    ...init,
    timeoutMs: TIMEOUT_MS,
    maxBodyBytes: ANSWER_LIMIT_BYTES,
  });
  // Response throws for an empty string with a status that has no body, such as 204.
  return new Response(text || null, { status, headers });
};
