import type { Clock } from "../../../lib/clock.ts";
import type { Proved } from "../pipeline/auth.ts";
import type { Endpoint } from "../pipeline/endpoint.ts";

/** What is told of changes may be lost; together with the cache of the service behind, 30 s are the most. */
const KEPT_MS = 5_000;
const MAX_KEPT = 500;

/** The bytes of an answer, and their entity tag. */
export interface Bytes {
  body: Buffer;
  etag: string;
}

/** Answers that are the same for many people, kept as they are sent. */
export interface ResponseCache {
  /** What is kept under the key, else what `make` makes, which is kept unless something changed meanwhile. */
  get(key: string, make: () => Promise<Bytes>): Promise<Bytes>;
  /** Forgets the answers of the service that the action belongs to. */
  outdated(action: string): void;
  /** How often an answer was there, and how often it was not. */
  uses(): { kept: number; made: number };
}

export function responseCache(clock: Clock): ResponseCache {
  const answers = new Map<string, Bytes & { untilMs: number }>();
  const uses = { kept: 0, made: 0 };
  const changes = new Map<string, number>();
  return {
    async get(key, make) {
      const found = answers.get(key);
      if (found && found.untilMs > clock.now()) {
        uses.kept += 1;
        return found;
      }
      const service = serviceOf(key);
      const changesBefore = changes.get(service);
      const made = await make();
      uses.made += 1;
      // What was read before a change and comes back after it is not kept: nothing would tell that it is old.
      if (changes.get(service) === changesBefore) {
        answers.delete(key);
        answers.set(key, { ...made, untilMs: clock.now() + KEPT_MS });
        const [oldest] = answers.keys();
        if (answers.size > MAX_KEPT && oldest !== undefined) answers.delete(oldest);
      }
      return made;
    },
    outdated(action) {
      const service = serviceOf(action);
      changes.set(service, (changes.get(service) ?? 0) + 1);
      for (const key of answers.keys()) if (key.startsWith(service)) answers.delete(key);
    },
    uses: () => ({ ...uses }),
  };
}

const serviceOf = (action: string) => action.slice(0, action.indexOf(".") + 1);

/** Under which key the answer to this request is kept; undefined for one that is its caller's own. */
export function cacheKeyOf(
  { route: { sameFor, action } }: Endpoint,
  proved: Proved | undefined,
  params: Readonly<Record<string, unknown>>,
): string | undefined {
  if (!sameFor || !proved || !sameFor.roles.includes(proved.caller.role)) return undefined;
  const fields: readonly string[] = sameFor.fields;
  if (!Object.keys(params).every((field) => fields.includes(field))) return undefined;
  return `${action} ${fields.map((field) => params[field] ?? "").join(" ")}`;
}
