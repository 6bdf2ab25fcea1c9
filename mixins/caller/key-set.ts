import { createLocalJWKSet, type JWK } from "jose";
import { fail } from "../../contracts/errors.ts";
import type { Clock } from "../../lib/clock.ts";

/** However many tokens with unknown keys arrive, the source is asked no oftener. */
const ASK_AGAIN_AFTER_MS = 3_000;
/** A key that was taken out of use is forgotten after this time, tokens with known keys or not. */
const MAX_AGE_MS = 300_000;

export type KeyResolver = ReturnType<typeof createLocalJWKSet>;

export interface KeySet {
  /**
   * The resolver of the set that holds `kid`, or of the newest set there is.
   * @throws SERVICE_UNAVAILABLE when no set was ever had and the source does not answer
   */
  holding(kid: string): Promise<KeyResolver>;
}

interface Known {
  kids: Set<string>;
  resolver: KeyResolver;
  atMs: number;
}

/** Keeps the public keys of `source`; while it is down or answers nonsense, the old set goes on verifying. */
export function keySet(source: () => Promise<readonly JWK[]>, clock: Clock): KeySet {
  let known: Known | undefined;
  let asking: Promise<void> | undefined;
  let askedAtMs = Number.NEGATIVE_INFINITY;

  async function ask(): Promise<void> {
    askedAtMs = clock.now();
    const keys = (await source()).filter(isUsable);
    if (keys.length === 0) throw new Error("the key set holds no key that signs access tokens");
    known = {
      kids: new Set(keys.map((key) => key.kid as string)),
      resolver: createLocalJWKSet({ keys }),
      atMs: clock.now(),
    };
  }
  /** One question at a time; its failure is nobody's who has keys. */
  const refresh = () => {
    asking ??= ask()
      .catch(() => undefined)
      .finally(() => {
        asking = undefined;
      });
    return asking;
  };
  const mayAsk = () => asking !== undefined || clock.now() - askedAtMs >= ASK_AGAIN_AFTER_MS;

  return {
    async holding(kid) {
      if (known?.kids.has(kid)) {
        if (clock.now() - known.atMs > MAX_AGE_MS && mayAsk()) void refresh();
        return known.resolver;
      }
      if (!known || mayAsk()) await refresh();
      if (!known) throw fail("SERVICE_UNAVAILABLE", "Tokens cannot be verified now.");
      return known.resolver;
    },
  };
}

function isUsable(key: JWK): boolean {
  const signs = key.use === undefined || key.use === "sig";
  return signs && typeof key.kid === "string" && (key.kty === "EC" || key.kty === "OKP");
}
