import { createLocalJWKSet, type JWK } from "jose";
import { fail } from "../../contracts/errors.ts";
import type { Clock } from "../../lib/clock.ts";

/** The minimum time between two requests to the source, for any number of tokens with unknown keys. */
const REFRESH_INTERVAL_MS = 3_000;
/** The set is refreshed after this time, so that a key that was removed from it is no longer accepted. */
const MAX_AGE_MS = 300_000;

export type KeyResolver = ReturnType<typeof createLocalJWKSet>;

export interface KeySet {
  /**
   * The resolver of the set that holds `kid`, or of the newest set there is.
   * @throws SERVICE_UNAVAILABLE when there is no set yet and the source does not answer
   */
  holding(kid: string): Promise<KeyResolver>;
  /** Loads the set if there is none yet. A failure is ignored. */
  prepare(): Promise<void>;
}

interface Known {
  kids: Set<string>;
  resolver: KeyResolver;
  atMs: number;
}

/** Caches the public keys of `source`. While it is unavailable or its answer is invalid, the old set remains in use. */
export function keySet(source: () => Promise<readonly JWK[]>, clock: Clock): KeySet {
  let known: Known | undefined;
  let loading: Promise<void> | undefined;
  let requestedAtMs = Number.NEGATIVE_INFINITY;

  async function load(): Promise<void> {
    requestedAtMs = clock.now();
    const keys = (await source()).filter(isUsable);
    if (keys.length === 0) throw new Error("the key set holds no key that signs access tokens");
    known = {
      kids: new Set(keys.map((key) => key.kid as string)),
      resolver: createLocalJWKSet({ keys }),
      atMs: clock.now(),
    };
  }
  /** One request at a time. Its failure is ignored: the old set remains in use. */
  const refresh = () => {
    loading ??= load()
      .catch(() => undefined)
      .finally(() => {
        loading = undefined;
      });
    return loading;
  };
  const mayRefresh = () => loading !== undefined || clock.now() - requestedAtMs >= REFRESH_INTERVAL_MS;

  return {
    async prepare() {
      if (!known) await refresh();
    },
    async holding(kid) {
      if (known?.kids.has(kid)) {
        if (clock.now() - known.atMs > MAX_AGE_MS && mayRefresh()) void refresh();
        return known.resolver;
      }
      if (!known || mayRefresh()) await refresh();
      if (!known) throw fail("SERVICE_UNAVAILABLE", "Tokens cannot be verified now.");
      return known.resolver;
    },
  };
}

function isUsable(key: JWK): boolean {
  const signs = key.use === undefined || key.use === "sig";
  return signs && typeof key.kid === "string" && (key.kty === "EC" || key.kty === "OKP");
}
