import { fail } from "../../../contracts/errors.ts";

/** The more important a class, the larger the share of the places that it may fill. */
const SHARES = { callback: 1, write: 0.8, read: 0.6 } as const;
/** One tenant leaves room for others, however many requests it sends. */
const TENANT_SHARE = 0.5;
const FIRST_LIMIT = 400;
/** So few calls are never too many: when they are slow, fewer of them would not be faster. */
const LIMIT_MIN = 100;
const LIMIT_MAX = 2_000;
const WINDOW_MS = 200;
/** A window with fewer samples goes on, for two seconds at most. */
const SAMPLES_MIN = 10;
const WINDOW_MAX_MS = 2_000;
/** The platform is congested when half of the sampled calls take longer. The p99 is then about a second. */
const MEDIAN_MAX_MS = 400;
const DECREASE = 0.7;
const INCREASE = 1.1;
const RETRY_AFTER_SECONDS = 1;

export type RequestClass = keyof typeof SHARES;

export interface AdmittedCall {
  class: RequestClass;
  /** The user, partner or bank that the call belongs to. */
  tenant: string;
  /**
   * Whether the duration shows the load of the platform. Not for calls that wait for servers of third parties or for a
   * lock: one slow bank or one contended order would lower the limit for all.
   */
  isSample: boolean;
}

export interface Admission {
  /**
   * Runs the call if there is a place for its class and its tenant.
   * @throws OVERLOADED with `retryAfterSeconds` before the call has begun, and the errors of the call
   */
  run<T>(call: AdmittedCall, work: () => Promise<T>): Promise<T>;
  /** Calls that run now. */
  running(): number;
  limit(): number;
  /** Refused calls since the start, by class. */
  refused(): Record<RequestClass, number>;
}

export interface AdmissionOptions {
  /** The limit before calls have shown how fast the platform is. Default: 400. */
  firstLimit?: number;
  /** A monotonic clock in milliseconds. */
  now?: () => number;
}

/**
 * Limits the calls that run at once, so that under overload the admitted ones are fast and the others are refused at once.
 * The limit follows the durations of calls (AIMD): it falls while they are long, and rises while they are short and
 * calls are refused. See docs/adr/0054-admission.md.
 */
export function admission({
  firstLimit = FIRST_LIMIT,
  now = () => performance.now(),
}: AdmissionOptions = {}): Admission {
  let limit = firstLimit;
  let running = 0;
  const runningOf = new Map<string, number>();
  const refused: Record<RequestClass, number> = { callback: 0, write: 0, read: 0 };
  let window = newWindow(now());
  /** Calls that began before the limit fell say nothing about the present limit. */
  let fellAtMs = Number.NEGATIVE_INFINITY;

  const refuse = (requestClass: RequestClass): never => {
    refused[requestClass]++;
    window.refused++;
    adapt();
    throw fail("OVERLOADED", `Try again in ${RETRY_AFTER_SECONDS} s.`, {
      retryAfterSeconds: RETRY_AFTER_SECONDS,
    });
  };
  const adapt = () => {
    const { durationsMs, refused: refusedNow, peak } = window;
    const ageMs = now() - window.startedMs;
    if (ageMs < (durationsMs.length < SAMPLES_MIN ? WINDOW_MAX_MS : WINDOW_MS)) return;
    if (peak >= LIMIT_MIN && durationsMs.length > 0 && medianOf(durationsMs) > MEDIAN_MAX_MS) {
      limit = Math.max(LIMIT_MIN, Math.floor(Math.min(limit, peak) * DECREASE));
      fellAtMs = now();
    } else if (refusedNow > 0) {
      // Without a sample nothing shows that more would be well.
      const max = durationsMs.length > 0 ? LIMIT_MAX : Math.max(limit, firstLimit);
      limit = Math.min(max, Math.ceil(limit * INCREASE));
    }
    window = newWindow(now(), running);
  };

  return {
    async run({ class: requestClass, tenant, isSample }, work) {
      const own = runningOf.get(tenant) ?? 0;
      if (running >= limit * SHARES[requestClass] || own >= limit * TENANT_SHARE) refuse(requestClass);
      running++;
      window.peak = Math.max(window.peak, running);
      runningOf.set(tenant, own + 1);
      const startedMs = now();
      try {
        return await work();
      } finally {
        running--;
        const left = (runningOf.get(tenant) as number) - 1;
        if (left > 0) runningOf.set(tenant, left);
        else runningOf.delete(tenant);
        if (isSample && startedMs >= fellAtMs) window.durationsMs.push(now() - startedMs);
        adapt();
      }
    },
    running: () => running,
    limit: () => limit,
    refused: () => ({ ...refused }),
  };
}

function newWindow(startedMs: number, peak = 0) {
  return { startedMs, peak, refused: 0, durationsMs: [] as number[] };
}

function medianOf(values: number[]): number {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)] as number;
}
