import { generateKeyPairSync } from "node:crypto";
import { SignJWT } from "jose";
import type { ServiceSchema } from "moleculer";
import { implement, type Result } from "../../contracts/actions.ts";
import type { Caller } from "../../contracts/meta.ts";
import { newId } from "../../lib/ids.ts";
import { callerMiddleware } from "../../mixins/caller/caller.middleware.ts";
import { AUDIENCE, TOKEN_TYPE } from "../../mixins/caller/token-verifier.ts";

export const TEST_ISSUER = "http://waybill.test";

/** Overrides of what a token states, and of its header: tests of refusals forge by them. */
export interface TestClaims extends Partial<Caller> {
  issuer?: string;
  audience?: string;
  expiresInSeconds?: number;
  header?: Record<string, string>;
}

/**
 * Stands in for the identity service where a test needs tokens and nothing else of it: a real key, real
 * signatures, the action `identity.jwks` that the caller middleware asks, and who is a deliverer.
 */
export function testIdentity(issuer: string = TEST_ISSUER) {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const kid = newId();
  const jwk = { ...publicKey.export({ format: "jwk" }), kid, alg: "ES256", use: "sig" };
  const keys = [jwk] as Result<"identity.jwks">["keys"];
  const strangers = new Set<string>();
  return {
    issuer,
    /** The ids that it calls customers. All other ids are deliverers. */
    strangers,
    privateKey,
    keys,
    service: {
      name: "identity",
      actions: {
        jwks: implement("identity.jwks", async () => ({ keys })),
        findRole: implement("identity.findRole", async ({ params }) => ({
          role: strangers.has(params.userId) ? "customer" : "deliverer",
        })),
      },
    } satisfies ServiceSchema,
    /** For the `middlewares` of the broker under test. */
    middleware: () => callerMiddleware({ issuer }),
    /** An access token as identity signs it; a customer's by default. */
    token(claims: TestClaims = {}): Promise<string> {
      const nowSeconds = Math.floor(Date.now() / 1000);
      const payload = {
        sid: claims.sessionId ?? newId(),
        role: claims.role ?? "customer",
        ...(claims.partnerId && {
          partner_id: claims.partnerId,
          partner_admin: claims.partnerAdmin ?? false,
        }),
      };
      return new SignJWT(payload)
        .setProtectedHeader({ alg: "ES256", typ: TOKEN_TYPE, kid, ...claims.header })
        .setSubject(claims.id ?? newId())
        .setIssuer(claims.issuer ?? issuer)
        .setAudience(claims.audience ?? AUDIENCE)
        .setIssuedAt(nowSeconds)
        .setExpirationTime(nowSeconds + (claims.expiresInSeconds ?? 600))
        .sign(privateKey);
    },
  };
}

export type TestIdentity = ReturnType<typeof testIdentity>;
