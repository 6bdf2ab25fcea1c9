import type { KeyObject } from "node:crypto";
import { SignJWT } from "jose";
import { CLOCK_TOLERANCE_MS, type Clock } from "../../lib/clock.ts";

/** Apple wants a token to be replaced at most every 20 minutes and takes none that is older than an hour. */
const RENEW_AFTER_MS = 50 * 60_000;
const RENEW_NOT_BEFORE_MS = 20 * 60_000;

export interface ProviderKey {
  teamId: string;
  keyId: string;
  key: KeyObject;
}

/** The token that signs us in at APNs: made once, used for most of an hour. */
export function providerToken({ teamId, keyId, key }: ProviderKey, clock: Clock) {
  let current: { token: Promise<string>; madeMs: number } | undefined;

  function make(): Promise<string> {
    const madeMs = clock.now();
    const token = new SignJWT()
      .setProtectedHeader({ alg: "ES256", kid: keyId })
      .setIssuer(teamId)
      // Apple's clock may be behind: a token of the future is refused.
      .setIssuedAt(Math.floor((madeMs - CLOCK_TOLERANCE_MS) / 1_000))
      .sign(key);
    current = { token, madeMs };
    return token;
  }

  return {
    async get(): Promise<string> {
      // A clock that was set back makes a token of the future, which is none either.
      const age = current && Math.abs(clock.now() - current.madeMs);
      return await (current && age !== undefined && age < RENEW_AFTER_MS ? current.token : make());
    },
    /**
     * Another one than that which APNs calls expired; undefined while that one is too young to be replaced: then
     * clocks differ, and a new one would be no better.
     */
    async after(expired: string): Promise<string | undefined> {
      if (!current) return await make();
      const token = await current.token;
      if (token !== expired) return token;
      return clock.now() - current.madeMs < RENEW_NOT_BEFORE_MS ? undefined : await make();
    },
  };
}
