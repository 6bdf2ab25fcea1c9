import { createHmac, createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { beforeEach, describe, expect, it } from "@jest/globals";
import { type JWK, SignJWT } from "jose";
import { fail } from "../../contracts/errors.ts";
import { newId } from "../../lib/ids.ts";
import { type TokenVerifier, tokenVerifier } from "../../mixins/caller/token-verifier.ts";
import { TEST_ISSUER, testIdentity } from "../support/tokens.ts";

const identity = testIdentity();
const kid = identity.keys[0]?.kid as string;
const refusal = expect.objectContaining({ type: "UNAUTHENTICATED", code: 401 });

let nowMs: number;
let asked: number;
let source: () => Promise<readonly JWK[]>;
let verifier: TokenVerifier;

beforeEach(() => {
  nowMs = Date.now();
  asked = 0;
  source = async () => identity.keys;
  verifier = verifierWith();
});

function verifierWith(more: { maxVerified?: number } = {}): TokenVerifier {
  const jwks = async () => {
    asked++;
    return source();
  };
  return tokenVerifier({ jwks, issuer: TEST_ISSUER, clock: { now: () => nowMs }, ...more });
}

/** A token with any header and claims, signed by our own key by default. */
function forge(
  { header = {}, claims = {} }: { header?: object; claims?: object },
  key: KeyObject = identity.privateKey,
): Promise<string> {
  const seconds = Math.floor(nowMs / 1000);
  const payload = {
    iss: TEST_ISSUER,
    aud: "waybill",
    sub: newId(),
    sid: newId(),
    role: "admin",
    iat: seconds,
    exp: seconds + 600,
    ...claims,
  };
  return new SignJWT(payload).setProtectedHeader({ alg: "ES256", typ: "at+jwt", kid, ...header }).sign(key);
}

/** A token whose times are so many seconds from now, by a clock that stands at a whole second. */
function forgeAt(offsets: Record<string, number>): Promise<string> {
  const seconds = Math.floor(nowMs / 1000);
  nowMs = seconds * 1000;
  const times = Object.entries(offsets).map(([name, offset]) => [name, seconds + offset]);
  return forge({ claims: Object.fromEntries(times) });
}

const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");

describe("the token verifier refuses", () => {
  it.each([
    ["another issuer", { claims: { iss: "http://evil.test" } }],
    ["another audience", { claims: { aud: "another" } }],
    ["no audience", { claims: { aud: undefined } }],
    ["another type: an ID token", { header: { typ: "JWT" } }],
    ["no type", { header: { typ: undefined } }],
    ["an unknown key", { header: { kid: "unknown" } }],
    ["no key id", { header: { kid: undefined } }],
    ["a URL to fetch keys from", { header: { jku: "http://evil.test/keys" } }],
    ["a key that the token brings along", { header: { jwk: { kty: "EC" } } }],
    ["a certificate that the token brings along", { header: { x5u: "http://evil.test/cert" } }],
    ["no expiry", { claims: { exp: undefined } }],
    ["no time of issue", { claims: { iat: undefined } }],
    ["a life of years", { claims: { iat: 1_500_000_000, exp: 4_000_000_000 } }],
    [
      "an issue in the future",
      { claims: { iat: Math.floor(Date.now() / 1000) + 3_600, exp: 4_000_000_000 } },
    ],
    ["not before later", { claims: { nbf: Math.floor(Date.now() / 1000) + 3_600 } }],
    ["no user", { claims: { sub: undefined } }],
    ["a user that is no id", { claims: { sub: "root" } }],
    ["no session", { claims: { sid: undefined } }],
    ["a role that is none", { claims: { role: "superuser" } }],
    ["a list of roles", { claims: { role: ["admin"] } }],
    ["staff of no partner", { claims: { role: "partner" } }],
  ])("a token with %s", async (_name, forged) => {
    await expect(verifier.verify(await forge(forged))).rejects.toEqual(refusal);
  });

  it("a token that was not signed", async () => {
    const good = await identity.token();
    const [, payload, signature] = good.split(".");
    for (const alg of ["none", "None", "NONE"]) {
      const header = part({ alg, typ: "at+jwt", kid });
      await expect(verifier.verify(`${header}.${payload}.`)).rejects.toEqual(refusal);
      await expect(verifier.verify(`${header}.${payload}.${signature}`)).rejects.toEqual(refusal);
    }
    await expect(verifier.verify(`${good.split(".").slice(0, 2).join(".")}.`)).rejects.toEqual(refusal);
  });

  it("a token signed by HS256 with our public key as the secret, in each of its spellings", async () => {
    const publicKey = identity.keys[0] as JWK;
    const { x, y } = publicKey as { x: string; y: string };
    const key = createPublicKey({ key: { ...publicKey }, format: "jwk" });
    const pem = key.export({ type: "spki", format: "pem" }) as string;
    const der = key.export({ type: "spki", format: "der" });
    const [bytesOfX, bytesOfY] = [Buffer.from(x, "base64url"), Buffer.from(y, "base64url")];
    const point = Buffer.concat([Buffer.of(4), bytesOfX, bytesOfY]);
    const jwk = [JSON.stringify(publicKey), JSON.stringify({ keys: [publicKey] }), x, y];
    const lines = [pem, pem.trim(), pem.replaceAll("\n", "\r\n"), der.toString("base64")];
    const [, payload] = (await identity.token()).split(".");
    for (const bits of [256, 384, 512]) {
      const input = `${part({ alg: `HS${bits}`, typ: "at+jwt", kid })}.${payload}`;
      for (const secret of [...jwk, ...lines, der, point, bytesOfX, bytesOfY]) {
        const mac = createHmac(`sha${bits}`, secret).update(input).digest("base64url");
        await expect(verifier.verify(`${input}.${mac}`)).rejects.toEqual(refusal);
      }
    }
  });

  it("a token signed by another key under our key's id", async () => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    await expect(verifier.verify(await forge({}, privateKey))).rejects.toEqual(refusal);
  });

  it("a token whose payload was changed, and one of the wrong shape", async () => {
    const [header, payload, signature] = (await identity.token({ role: "customer" })).split(".");
    const claims = JSON.parse(Buffer.from(payload as string, "base64url").toString());
    const raised = `${header}.${part({ ...claims, role: "admin" })}.${signature}`;
    for (const text of [raised, "", ".", "..", "a.b.c", `${header}.${payload}`, "x".repeat(9_000)]) {
      await expect(verifier.verify(text)).rejects.toEqual(refusal);
    }
  });

  it("a token after its expiry, also if it was verified before", async () => {
    const token = await identity.token({ expiresInSeconds: 60 });
    await verifier.verify(token);
    nowMs += 66_000;
    await expect(verifier.verify(token)).rejects.toEqual(refusal);
  });

  it.each([
    ["expired more than five seconds ago", { iat: -600, exp: -6 }],
    ["issued more than five seconds ahead", { iat: 6, exp: 600 }],
    ["good from more than five seconds ahead", { nbf: 6 }],
    ["issued more than 15 minutes and five seconds ago", { iat: -906, exp: 600 }],
  ])("a token %s by its own clock", async (_name, offsets) => {
    await expect(verifier.verify(await forgeAt(offsets))).rejects.toEqual(refusal);
  });

  it("a key of the set that is no signing key, or symmetric", async () => {
    source = async () => [
      { ...identity.keys[0], use: "enc" } as JWK,
      { kty: "oct", k: "c2VjcmV0", kid, alg: "HS256" } as JWK,
    ];
    await expect(verifier.verify(await identity.token())).rejects.toMatchObject({
      type: "SERVICE_UNAVAILABLE",
    });
  });
});

describe("the token verifier", () => {
  it("of a customer, leaves out claims that only staff have", async () => {
    const claims = { role: "customer", partner_id: newId(), partner_admin: true };
    const caller = await verifier.verify(await forge({ claims }));
    expect(caller).toEqual({ id: expect.any(String), sessionId: expect.any(String), role: "customer" });
  });

  it.each([
    ["expired within the last five seconds", { iat: -600, exp: -4 }],
    ["issued up to five seconds ahead", { iat: 5, exp: 600 }],
    ["good from five seconds ahead", { nbf: 5 }],
    ["issued 15 minutes and some seconds ago", { iat: -904, exp: 600 }],
  ])("accepts a token %s, because the issuer's clock is another machine's", async (_name, offsets) => {
    await expect(verifier.verify(await forgeAt(offsets))).resolves.toMatchObject({ role: "admin" });
  });

  it("accepts a verified token as long as a new one", async () => {
    const token = await forgeAt({ exp: 60 });
    await verifier.verify(token);
    nowMs += 64_000;
    await expect(verifier.verify(token)).resolves.toBeDefined();
    await expect(verifierWith().verify(token)).resolves.toBeDefined();
    nowMs += 2_000;
    await expect(verifier.verify(token)).rejects.toEqual(refusal);
    await expect(verifierWith().verify(token)).rejects.toEqual(refusal);
  });

  it("keeps a revocation as long as any token of the session is valid", async () => {
    const sessionId = newId();
    const token = await forgeAt({ iat: 5, exp: 10_000 });
    const { sessionId: sid } = await verifier.verify(token);
    verifier.revoke(sid);
    nowMs += 909_000;
    verifier.revoke(sessionId);
    await expect(verifier.verify(token)).rejects.toMatchObject({ type: "SESSION_REVOKED" });
  });

  it("returns the same caller again without another verification, and unchangeable", async () => {
    const token = await identity.token();
    const caller = await verifier.verify(token);
    expect(await verifier.verify(token)).toBe(caller);
    expect(() => Object.assign(caller, { role: "admin" })).toThrow(TypeError);
  });

  it("keeps a limited number of verified tokens, the last used ones", async () => {
    const small = verifierWith({ maxVerified: 2 });
    const [a, b, c] = [await identity.token(), await identity.token(), await identity.token()];
    const first = await small.verify(a);
    const second = await small.verify(b);
    await small.verify(a);
    await small.verify(c); // b is the one that nobody used lately
    expect(await small.verify(a)).toBe(first);
    expect(await small.verify(b)).not.toBe(second);
  });

  it("after a revocation, refuses every token of the session, verified before or not, until they expire", async () => {
    const sessionId = newId();
    const [seen, unseen] = [await identity.token({ sessionId }), await identity.token({ sessionId })];
    await verifier.verify(seen);
    verifier.revoke(sessionId);
    const revoked = { type: "SESSION_REVOKED", code: 401 };
    await expect(verifier.verify(seen)).rejects.toMatchObject(revoked);
    await expect(verifier.verify(unseen)).rejects.toMatchObject(revoked);
    await expect(verifier.verify(await identity.token())).resolves.toBeDefined();
    nowMs += 599_000;
    verifier.revoke(newId());
    await expect(verifier.verify(unseen)).rejects.toMatchObject(revoked);
  });
});

describe("the key set", () => {
  const otherKey = testIdentity();

  it("requests an unknown key at once, then at most every three seconds", async () => {
    await verifier.verify(await identity.token());
    expect(asked).toBe(1);
    nowMs += 3_000;
    for (let count = 0; count < 20; count++) {
      await expect(verifier.verify(await otherKey.token())).rejects.toEqual(refusal);
    }
    expect(asked).toBe(2);
    source = async () => [...identity.keys, ...otherKey.keys];
    await expect(verifier.verify(await otherKey.token())).rejects.toEqual(refusal);
    nowMs += 3_000;
    await expect(verifier.verify(await otherKey.token())).resolves.toBeDefined();
    expect(asked).toBe(3);
  });

  it.each([
    ["is down", () => Promise.reject(fail("SERVICE_UNAVAILABLE"))],
    ["answers nonsense", async () => [{ kty: "oct" }] as JWK[]],
    ["answers nothing", async () => []],
  ])("when the source %s, continues with its keys", async (_name, broken) => {
    await verifier.verify(await identity.token());
    source = broken;
    nowMs += 400_000;
    const fresh = await forge({});
    await expect(verifier.verify(fresh)).resolves.toBeDefined();
    await expect(verifier.verify(await otherKey.token())).rejects.toEqual(refusal);
    await expect(verifier.verify(await forge({}))).resolves.toBeDefined();
  });

  it("before its first keys, answers that the service is unavailable, and recovers", async () => {
    source = () => Promise.reject(new Error("down"));
    await expect(verifier.verify(await identity.token())).rejects.toMatchObject({
      type: "SERVICE_UNAVAILABLE",
    });
    source = async () => identity.keys;
    await expect(verifier.verify(await identity.token())).resolves.toBeDefined();
  });

  it("drops a removed key in time, although its tokens were verified before", async () => {
    await verifier.verify(await identity.token());
    source = async () => otherKey.keys;
    nowMs += 301_000;
    await verifier.verify(await forge({})); // this one still passes, and makes the set be asked for
    await new Promise((resolve) => setImmediate(resolve));
    await expect(verifier.verify(await forge({}))).rejects.toEqual(refusal);
  });

  it("requested concurrently, sends one request", async () => {
    const tokens = await Promise.all(Array.from({ length: 20 }, () => identity.token()));
    await Promise.all(tokens.map((token) => verifier.verify(token)));
    expect(asked).toBe(1);
  });
});
