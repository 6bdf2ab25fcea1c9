import { delay, reasonOf } from "./abort.ts";
import { noAnswer } from "./error.ts";

const FIRST_WAIT_MS = 300;
const WAIT_MAX_MS = 10_000;
const BUSY = [429, 503, 504];
/** Methods whose request has one effect, also when it is sent twice. */
const REPEATABLE = ["GET", "HEAD", "PUT", "PATCH", "DELETE"];
/** The platform answers a repeated exchange with the same tokens for a short time. */
const EXCHANGE = /\/sessions\/refresh$/;
/** Operations that end the caller's own password, session or account: a repeat would be refused. */
const ENDS_OWN_ACCESS = ["PUT /me/password", "DELETE /me", "DELETE /sessions", "DELETE /sessions/current"];

type Repeatable =
  /** It has one effect, also when it is sent twice. */
  | "always"
  /** Only when the platform surely did not perform it: the repeat of a performed request would be refused. */
  | "unperformed"
  | "never";

/**
 * The requests of an answer, for as long as its body exists. Node passes an abort on only to requests that are still
 * reachable, and after the head nothing else refers to them: without this, a garbage collection would disable the time
 * limit and the caller's signal.
 */
const requestsOf = new WeakMap<object, Request[]>();

/**
 * A fetch that gives up after a time, and that repeats a request while the platform says that it is busy, where a
 * repetition does no harm. It waits as long as `Retry-After` says. The time limit holds for the whole answer, and for
 * the head of a stream.
 */
export function retryingFetch(
  fetch: (request: Request) => Promise<Response>,
  { timeoutMs, tries, basePath }: { timeoutMs: number; tries: number; basePath: string },
): (request: Request) => Promise<Response> {
  const once = async (request: Request) => {
    const { signal } = request;
    const ending = new AbortController();
    const abort = () => ending.abort(reasonOf(signal));
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort);
    const timer = setTimeout(
      () => ending.abort(new DOMException(`no answer within ${timeoutMs} ms`, "TimeoutError")),
      timeoutMs,
    );
    // The timer still runs after the body was read; it must not keep a Node process alive.
    (timer as { unref?(): void }).unref?.();
    try {
      const sent = new Request(request.clone(), { signal: ending.signal });
      const response = await fetch(sent);
      if (response.body) requestsOf.set(response.body, [request, sent]);
      if (isStream(response)) clearTimeout(timer);
      return response;
    } catch (error) {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
      if (signal.aborted) throw reasonOf(signal);
      throw noAnswer(request, error);
    }
  };
  return async (request) => {
    const repeatable = repeatableOf(request, basePath);
    for (let count = 1; ; count++) {
      const last = count >= tries || repeatable === "never";
      try {
        const response = await once(request);
        if (last || !(await mayRepeat(response, repeatable))) return response;
        await wait(count, response.headers.get("Retry-After"), request.signal);
      } catch (error) {
        if (last || repeatable !== "always" || request.signal.aborted) throw error;
        await wait(count, null, request.signal);
      }
    }
  };
}

function repeatableOf({ method, url, headers }: Request, basePath: string): Repeatable {
  const path = url.slice(url.indexOf(basePath) + basePath.length).split("?", 1)[0] as string;
  if (method === "POST") return headers.has("Idempotency-Key") || EXCHANGE.test(path) ? "always" : "never";
  if (!REPEATABLE.includes(method)) return "never";
  const changes = method !== "GET" && method !== "HEAD";
  return changes && (headers.has("If-Match") || ENDS_OWN_ACCESS.includes(`${method} ${path}`))
    ? "unperformed"
    : "always";
}

async function mayRepeat(response: Response, repeatable: Repeatable): Promise<boolean> {
  const { status } = response;
  if (status === 429 || (BUSY.includes(status) && repeatable === "always")) return true;
  if (status !== 409 && status !== 503) return false;
  const { code } = (await response
    .clone()
    .json()
    .catch(() => ({}))) as { code?: string };
  return status === 409 ? code === "idempotency_in_flight" : code === "overloaded";
}

function isStream(response: Response): boolean {
  return response.headers.get("Content-Type")?.startsWith("text/event-stream") ?? false;
}

async function wait(count: number, retryAfter: string | null, signal: AbortSignal): Promise<void> {
  const asked = Number(retryAfter) * 1000;
  const ms = asked > 0 ? asked : FIRST_WAIT_MS * 2 ** (count - 1);
  await delay(Math.min(ms, WAIT_MAX_MS), signal);
}
