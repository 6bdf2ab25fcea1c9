import type { Role } from "../../../contracts/meta.ts";
import type { Clock } from "../../../lib/clock.ts";
import type { Endpoint } from "../pipeline/endpoint.ts";

/** Events about changes can be lost. Together with the service's own cache, an answer is at most 30 s old. */
const TTL_MS = 5_000;
const MAX_ENTRIES = 500;

/** The bytes of an answer and their entity tag. */
export interface EncodedAnswer {
  body: Buffer;
  etag: string;
}

/** Caches encoded answers that many callers share. */
export interface ResponseCache {
  /** The cached answer, or the result of `make`. The result is cached unless the service invalidated meanwhile. */
  get(key: string, make: () => Promise<EncodedAnswer>): Promise<EncodedAnswer>;
  /** Removes all answers of the action's service. */
  invalidate(action: string): void;
  /** Since the start of the process. */
  counts(): { hit: number; miss: number };
}

export function responseCache(clock: Clock): ResponseCache {
  const answers = new Map<string, EncodedAnswer & { untilMs: number }>();
  const counts = { hit: 0, miss: 0 };
  const invalidations = new Map<string, number>();
  return {
    async get(key, make) {
      const found = answers.get(key);
      if (found && found.untilMs > clock.now()) {
        counts.hit += 1;
        return found;
      }
      const service = serviceOf(key);
      const before = invalidations.get(service);
      const made = await make();
      counts.miss += 1;
      // An answer that was read before an invalidation and arrives after it may be stale.
      if (invalidations.get(service) === before) {
        answers.delete(key);
        answers.set(key, { ...made, untilMs: clock.now() + TTL_MS });
        const [oldest] = answers.keys();
        if (answers.size > MAX_ENTRIES && oldest !== undefined) answers.delete(oldest);
      }
      return made;
    },
    invalidate(action) {
      const service = serviceOf(action);
      invalidations.set(service, (invalidations.get(service) ?? 0) + 1);
      for (const key of answers.keys()) if (key.startsWith(service)) answers.delete(key);
    },
    counts: () => ({ ...counts }),
  };
}

const serviceOf = (action: string) => action.slice(0, action.indexOf(".") + 1);

/** The cache key of a request; undefined if the answer depends on the caller. */
export function cacheKeyOf(
  { route: { sameFor, action } }: Endpoint,
  role: Role | undefined,
  params: Readonly<Record<string, unknown>>,
): string | undefined {
  if (!sameFor || !role || !sameFor.roles.includes(role)) return undefined;
  const fields: readonly string[] = sameFor.fields;
  if (!Object.keys(params).every((field) => fields.includes(field))) return undefined;
  return `${action} ${fields.map((field) => params[field] ?? "").join(" ")}`;
}
