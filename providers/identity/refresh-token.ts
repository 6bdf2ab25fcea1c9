import { createHmac, hkdfSync, timingSafeEqual } from "node:crypto";
import type { EncryptionKeys } from "../../lib/encryption.ts";

/**
 * A refresh token consists of its session's id, its generation and a MAC over both and the session's salt. It can be
 * computed again from the session's row, so a repeated request gets the same token. No token is stored: a thief of
 * the database lacks the secret, and a thief of the secret lacks the salt.
 */
export interface RefreshToken {
  sessionId: string;
  generation: number;
}

const FORMAT =
  /^([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\.(\d{1,9})\.([A-Za-z0-9_-]{43})$/;

export function mintRefreshToken(token: RefreshToken, salt: string, keys: EncryptionKeys): string {
  return `${token.sessionId}.${token.generation}.${mac(token, salt, keys.secret).toString("base64url")}`;
}

/** Parses a token without verifying it; undefined when the format is wrong. */
export function readRefreshToken(text: string): RefreshToken | undefined {
  const [, sessionId, generation] = FORMAT.exec(text) ?? [];
  return sessionId ? { sessionId, generation: Number(generation) } : undefined;
}

/** Whether the MAC is right for the session with this salt, under the current or the previous secret. */
export function isGenuine(text: string, salt: string, keys: EncryptionKeys): boolean {
  const token = readRefreshToken(text);
  const given = Buffer.from(FORMAT.exec(text)?.[3] ?? "", "base64url");
  if (!token) return false;
  return [keys.secret, keys.previousSecret]
    .filter((secret) => secret !== undefined)
    .map((secret) => mac(token, salt, secret))
    .some((expected) => given.length === expected.length && timingSafeEqual(given, expected));
}

const derived = new Map<string, Buffer>();

function mac({ sessionId, generation }: RefreshToken, salt: string, secret: string): Buffer {
  let key = derived.get(secret);
  if (!key) {
    key = Buffer.from(hkdfSync("sha256", secret, "", "waybill refresh token", 32));
    derived.set(secret, key);
  }
  return createHmac("sha256", key).update(`${sessionId}\n${generation}\n${salt}`).digest();
}
