import { ECDH } from "node:crypto";
import { parsedObject } from "./http.ts";

const ENDPOINT_MAX = 2_048;
const KEY_BYTES = 65;
const SECRET_BYTES = 16;
const BASE64URL = /^[A-Za-z0-9_-]+={0,2}$/;

/** Where a browser's push service takes its pushes, and what they are encrypted for. */
export interface Subscription {
  endpoint: string;
  /** Of the push service. */
  origin: string;
  /** An uncompressed point of P-256. */
  publicKey: Buffer;
  authSecret: Buffer;
}

/**
 * A `PushSubscription` as `JSON.stringify` writes it, which is what a device's token holds (W3C Push API).
 * @returns undefined when it is none that a browser makes
 */
export function subscriptionOf(token: string): Subscription | undefined {
  const { endpoint, keys } = parsedObject(token);
  if (typeof endpoint !== "string" || endpoint.length > ENDPOINT_MAX || !URL.canParse(endpoint))
    return undefined;
  const { p256dh, auth } = (typeof keys === "object" && keys !== null ? keys : {}) as Record<string, unknown>;
  const publicKey = bytesOf(p256dh, KEY_BYTES);
  const authSecret = bytesOf(auth, SECRET_BYTES);
  if (!publicKey || !authSecret || !isPoint(publicKey)) return undefined;
  return { endpoint, origin: new URL(endpoint).origin, publicKey, authSecret };
}

/** Exactly so many bytes out of base64url; undefined when it is anything else. */
export function bytesOf(text: unknown, length: number): Buffer | undefined {
  if (typeof text !== "string" || !BASE64URL.test(text)) return undefined;
  const bytes = Buffer.from(text, "base64url");
  return bytes.length === length ? bytes : undefined;
}

function isPoint(key: Buffer): boolean {
  try {
    return ECDH.convertKey(key, "prime256v1", undefined, "hex", "uncompressed") === key.toString("hex");
  } catch {
    return false;
  }
}
