import { boundedFetch } from "../../lib/net/bounded-fetch.ts";
import { withTimeout } from "../../lib/timeout.ts";
import { BankError } from "./port.ts";

const ANSWER_LIMIT_BYTES = 2_000_000;
/** No call to a bank takes longer (port.ts). */
export const TIMEOUT_MS = 5_000;

/** What of an error of Stripe's library is looked at: its messages may hold parts of the key. */
interface StripeFailure {
  type?: string;
  code?: string;
  param?: string;
  statusCode?: number;
  headers?: Record<string, string>;
}

/** So many requests at most under one key and those that follow from it. Stripe forgets a key after a day. */
const KEYS_MAX = 5;
const SERVER_ERROR = 500;
/** Another request is not begun with less time than this. */
const LEAST_MS = 500;

/**
 * Waits for an answer of Stripe's and says of a failure what it means: `refused` is said of this very request (a bad
 * parameter, nothing left to refund, a card), `unclear` is everything that may pass or may have happened: no answer, a
 * rate limit, the first request with the same key still running, a wrong key, an error of Stripe's own. That a key
 * came with other parameters before (`idempotency_error`) says nothing of what became of the first request.
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
 * Makes a request under an idempotency key. Stripe keeps its first answer to a key for a day, and repeats also an error of
 * its own (docs.stripe.com/api/idempotent_requests): under that key the request would never be made again. Such a
 * repeated error says that the first request is over; so the request is made under the next key.
 * @param done looks whether the first request did its work in spite of its error
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
    if (leftMs < LEAST_MS && number > 1) throw new BankError("unclear", "Stripe: no time left");
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

/** fetch that follows no redirect, since the merchant's key would go along, and reads no endless answer. */
export const limitedFetch: typeof fetch = async (url, init) => {
  const { status, headers, text } = await boundedFetch(url as string | URL, {
    ...init,
    timeoutMs: TIMEOUT_MS,
    maxBodyBytes: ANSWER_LIMIT_BYTES,
  });
  // A status that has no body wants none, not an empty one.
  return new Response(text || null, { status, headers });
};
