import { ECDH } from "node:crypto";
import { parsedObject } from "./http.ts";

const ENDPOINT_MAX = 2_048;
const KEY_BYTES = 65;
const SECRET_BYTES = 16;
const BASE64URL = /^[A-Za-z0-9_-]+={0,2}$/;

/** The address of a browser at its push service, and the keys to encrypt for it. */
export interface Subscription {
  endpoint: string;
  /** Origin of the push service. */
  origin: string;
  /** An uncompressed point of P-256. */
  publicKey: Buffer;
  authSecret: Buffer;
}

/**
 * Parses a device token: the JSON of a `PushSubscription` (W3C Push API).
 * @returns undefined when it is not valid
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

/** Decodes base64url; undefined when the text is not exactly `length` bytes. */
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
