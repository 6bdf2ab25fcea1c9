import { createECDH, createPrivateKey, type KeyObject } from "node:crypto";
import { SignJWT } from "jose";
import type { Clock } from "../../lib/clock.ts";
import { NotSentError } from "./http.ts";
import type { Push } from "./port.ts";
import { bytesOf } from "./webpush-subscription.ts";

/** RFC 8292 allows a day. */
const LIVES_S = 12 * 3_600;
const UNUSED_AT_THE_END_MS = 3_600_000;
/** Far more than there are push services; the rest are invented addresses. */
const SERVICES_MAX = 50;
const PRIVATE_KEY_BYTES = 32;
/** More of them are as improbable as a guessed key of four bytes. */
const LEADING_ZEROS_MAX = 4;
const MAIL_ADDRESS = /^mailto:[^\s@]+@[^\s@]+$/;

export interface VapidKeys {
  /** The `applicationServerKey` of subscriptions. */
  publicKey: string;
  key: KeyObject;
  subject: string;
}

/** @throws NotSentError for wrong settings; its message is for the admin and does not contain their values */
export function vapidKeysOf({ publicKey = "", privateKey = "", subject = "" }: Push["settings"]): VapidKeys {
  const point = bytesOf(publicKey, 65);
  if (!point) throw new NotSentError("publicKey must be the VAPID public key, in base64url");
  const secret = secretOf(privateKey);
  const own = secret && publicOf(secret);
  if (!secret || !own) throw new NotSentError("privateKey must be the VAPID private key, in base64url");
  if (!own.equals(point)) throw new NotSentError("publicKey and privateKey are not of one pair");
  if (!MAIL_ADDRESS.test(subject) && !isHttps(subject)) {
    throw new NotSentError("subject must be mailto: and an address of yours, or an https URL");
  }
  const [x, y, d] = [point.subarray(1, 33), point.subarray(33), secret].map((part) =>
    part.toString("base64url"),
  );
  const jwk = { kty: "EC", crv: "P-256", x, y, d };
  return {
    publicKey: point.toString("base64url"),
    key: createPrivateKey({ format: "jwk", key: jwk }),
    subject,
  };
}

/** Authenticates an operator at push services (RFC 8292), with one token for each service. */
export function vapid({ publicKey, key, subject }: VapidKeys, clock: Clock) {
  const known = new Map<string, { token: Promise<string>; endsAtMs: number }>();

  function tokenFor(origin: string): Promise<string> {
    const nowMs = clock.now();
    const last = known.get(origin);
    // After the clock was set back, the token's expiry is too far in the future.
    const leftMs = last ? last.endsAtMs - nowMs : 0;
    if (last && leftMs > UNUSED_AT_THE_END_MS && leftMs <= LIVES_S * 1_000) return last.token;
    const endsAtS = Math.floor(nowMs / 1_000) + LIVES_S;
    const token = new SignJWT()
      .setProtectedHeader({ alg: "ES256", typ: "JWT" })
      .setAudience(origin)
      .setExpirationTime(endsAtS)
      .setSubject(subject)
      .sign(key);
    if (known.size >= SERVICES_MAX) known.clear();
    known.set(origin, { token, endsAtMs: endsAtS * 1_000 });
    return token;
  }

  return {
    /** The header `Authorization` for a push service. */
    async authorization(origin: string): Promise<string> {
      return `vapid t=${await tokenFor(origin)}, k=${publicKey}`;
    },
  };
}

/** The private key in its full length. OpenSSL writes it without leading zero bytes: one of 225 keys has one. */
function secretOf(privateKey: string): Buffer | undefined {
  for (let length = PRIVATE_KEY_BYTES; length >= PRIVATE_KEY_BYTES - LEADING_ZEROS_MAX; length--) {
    const written = bytesOf(privateKey, length);
    if (written) return Buffer.concat([Buffer.alloc(PRIVATE_KEY_BYTES - length), written]);
  }
  return undefined;
}

/** The public key of a private key; undefined when it is not a key of P-256. */
function publicOf(secret: Buffer): Buffer | undefined {
  const pair = createECDH("prime256v1");
  try {
    pair.setPrivateKey(secret);
    return pair.getPublicKey();
  } catch {
    return undefined;
  }
}

function isHttps(text: string): boolean {
  return URL.canParse(text) && new URL(text).protocol === "https:";
}
