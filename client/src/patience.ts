import { noAnswer } from "./error.ts";

const FIRST_WAIT_MS = 300;
const WAIT_MAX_MS = 10_000;
const BUSY = [429, 503, 504];
/** Requests that do not happen twice when they are sent twice. */
const REPEATABLE = ["GET", "PUT", "PATCH", "DELETE"];

/**
 * A fetch that gives up after a time, and that repeats a request while the platform says that it is busy, where a
 * repetition does no harm. It waits as long as `Retry-After` says.
 */
export function patientFetch(
  fetch: (request: Request) => Promise<Response>,
  { timeoutMs, tries }: { timeoutMs: number; tries: number },
): (request: Request) => Promise<Response> {
  const once = async (request: Request) => {
    const signal = AbortSignal.any([request.signal, AbortSignal.timeout(timeoutMs)]);
    try {
      return await fetch(new Request(request.clone(), { signal }));
    } catch (error) {
      if (request.signal.aborted) throw error;
      throw noAnswer(request, error);
    }
  };
  return async (request) => {
    const repeatable = REPEATABLE.includes(request.method) || request.headers.has("Idempotency-Key");
    for (let count = 1; ; count++) {
      const last = count >= tries || !repeatable;
      try {
        const response = await once(request);
        if (last || !(await isBusy(response))) return response;
        await wait(count, response.headers.get("Retry-After"));
      } catch (error) {
        if (last || request.signal.aborted) throw error;
        await wait(count, null);
      }
    }
  };
}

async function isBusy(response: Response): Promise<boolean> {
  if (BUSY.includes(response.status)) return true;
  if (response.status !== 409) return false;
  const { code } = (await response.clone().json()) as { code?: string };
  return code === "idempotency_in_flight";
}

async function wait(count: number, retryAfter: string | null): Promise<void> {
  const told = Number(retryAfter) * 1000;
  const ms = told > 0 ? told : FIRST_WAIT_MS * 2 ** (count - 1);
  await new Promise((resolve) => setTimeout(resolve, Math.min(ms, WAIT_MAX_MS)));
}
