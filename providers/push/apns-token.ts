import type { KeyObject } from "node:crypto";
import { SignJWT } from "jose";
import { CLOCK_TOLERANCE_MS, type Clock } from "../../lib/clock.ts";

/** Apple allows a new token every 20 minutes and refuses one that is older than an hour. */
const RENEW_AFTER_MS = 50 * 60_000;
const RENEW_NOT_BEFORE_MS = 20 * 60_000;

export interface ProviderKey {
  teamId: string;
  keyId: string;
  key: KeyObject;
}

/** The authentication token for APNs, reused for most of an hour. */
export function providerToken({ teamId, keyId, key }: ProviderKey, clock: Clock) {
  let current: { token: Promise<string>; madeMs: number } | undefined;

  function make(): Promise<string> {
    const madeMs = clock.now();
    const token = new SignJWT()
      .setProtectedHeader({ alg: "ES256", kid: keyId })
      .setIssuer(teamId)
      // Apple's clock may be behind, and a token from the future is refused.
      .setIssuedAt(Math.floor((madeMs - CLOCK_TOLERANCE_MS) / 1_000))
      .sign(key);
    current = { token, madeMs };
    return token;
  }

  return {
    async get(): Promise<string> {
      // After the clock was set back, the token is from the future and refused too.
      const age = current && Math.abs(clock.now() - current.madeMs);
      return await (current && age !== undefined && age < RENEW_AFTER_MS ? current.token : make());
    },
    /**
     * A token to use instead of the one that APNs called expired; undefined while that one is too young to be replaced:
     * then the clocks differ, and a new token would be refused too.
     */
    async after(expired: string): Promise<string | undefined> {
      if (!current) return await make();
      const token = await current.token;
      if (token !== expired) return token;
      return clock.now() - current.madeMs < RENEW_NOT_BEFORE_MS ? undefined : await make();
    },
  };
}
