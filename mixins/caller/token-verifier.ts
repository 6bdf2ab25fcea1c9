import { hash } from "node:crypto";
import { decodeProtectedHeader, type JWK, jwtVerify } from "jose";
import { callerFrom } from "../../contracts/claims.ts";
import { fail, typeOf } from "../../contracts/errors.ts";
import type { Caller } from "../../contracts/meta.ts";
import { CLOCK_TOLERANCE_MS, type Clock, systemClock } from "../../lib/clock.ts";
import { keySet } from "./key-set.ts";

export const AUDIENCE = "waybill";
export const TOKEN_TYPE = "at+jwt";

const ALGORITHMS = ["ES256", "EdDSA"];
const MAX_TOKEN_LENGTH = 8_192;
const MAX_VERIFIED = 10_000;
const MAX_REVOKED = 100_000;
/** The maximum age of a token, by the clock of the machine that issued it. */
const MAX_TOKEN_AGE_MS = 900_000;
/** A token may be issued by a clock that is ahead, and is accepted for the tolerance beyond its age. */
const REVOCATION_RETENTION_MS = MAX_TOKEN_AGE_MS + 2 * CLOCK_TOLERANCE_MS;

export interface TokenVerifierOptions {
  /** Source of the public keys. Called at first use, for an unknown key, and periodically. */
  jwks: () => Promise<readonly JWK[]>;
  /** The required `iss` of tokens. */
  issuer: string;
  /** The required `aud` of tokens. Default: "waybill". */
  audience?: string;
  clock?: Clock;
  /** The maximum number of cached tokens. */
  maxVerified?: number;
}

export interface TokenVerifier {
  /**
   * Verifies a token. @returns its caller
   * @throws UNAUTHENTICATED for an invalid access token, SESSION_REVOKED after a sign-out,
   * SERVICE_UNAVAILABLE while there are no keys
   */
  verify(token: string): Promise<Caller>;
  /** Loads the public keys if there are none yet, so that tokens can be verified while their source is away. */
  prepare(): Promise<void>;
  /** Refuses all tokens of this session from now on. */
  revoke(sessionId: string): void;
}

interface Verified {
  caller: Caller;
  untilMs: number;
}

/**
 * Verifies access tokens by signature, algorithm, type, issuer, audience and times, these with CLOCK_TOLERANCE_MS:
 * the issuer is another machine. A verification by ES256
 * costs 150 us of CPU, a look-up 1.3. So the result is cached by the hash of the token, in a bounded cache, and never
 * longer than the token is valid.
 */
export function tokenVerifier(options: TokenVerifierOptions): TokenVerifier {
  const { issuer, audience = AUDIENCE, clock = systemClock, maxVerified = MAX_VERIFIED } = options;
  const keys = keySet(options.jwks, clock);
  const verified = new Map<string, Verified>();
  const revoked = new Map<string, number>();

  function cached(digest: string): Caller | undefined {
    const entry = verified.get(digest);
    if (!entry) return undefined;
    verified.delete(digest);
    if (entry.untilMs <= clock.now()) return undefined;
    verified.set(digest, entry); // the most recently used last, so that the first is removed
    return entry.caller;
  }

  async function check(token: string): Promise<Verified> {
    const { kid, jku, jwk, x5u, x5c } = decodeProtectedHeader(token);
    if (!kid || jku || jwk || x5u || x5c)
      throw new Error("the header must name a key and must not contain one");
    const { payload } = await jwtVerify(token, await keys.holding(kid), {
      algorithms: ALGORITHMS,
      typ: TOKEN_TYPE,
      issuer,
      audience,
      requiredClaims: ["sub", "exp", "iat"],
      maxTokenAge: MAX_TOKEN_AGE_MS / 1000,
      clockTolerance: CLOCK_TOLERANCE_MS / 1000,
      currentDate: new Date(clock.now()),
    });
    return { caller: callerFrom(payload), untilMs: (payload.exp as number) * 1000 + CLOCK_TOLERANCE_MS };
  }

  return {
    async verify(token) {
      if (token.length > MAX_TOKEN_LENGTH) throw invalid();
      const digest = hash("sha256", token, "base64");
      let caller = cached(digest);
      if (!caller) {
        const fresh = await check(token).catch((error) => {
          throw typeOf(error) === "SERVICE_UNAVAILABLE" ? error : invalid();
        });
        caller = fresh.caller;
        verified.set(digest, fresh);
        if (verified.size > maxVerified) dropFirst(verified);
      }
      if (revoked.has(caller.sessionId)) throw fail("SESSION_REVOKED", "This session was signed out.");
      return caller;
    },
    prepare: () => keys.prepare(),
    revoke(sessionId) {
      const nowMs = clock.now();
      for (const [id, untilMs] of revoked) {
        if (untilMs > nowMs && revoked.size < MAX_REVOKED) break;
        revoked.delete(id);
      }
      revoked.delete(sessionId);
      revoked.set(sessionId, nowMs + REVOCATION_RETENTION_MS);
    },
  };
}

function invalid(): Error {
  return fail("UNAUTHENTICATED", "The access token is not valid or has expired.");
}

function dropFirst(map: Map<string, unknown>): void {
  for (const key of map.keys()) {
    map.delete(key);
    return;
  }
}
