import { createHmac, hkdfSync, timingSafeEqual } from "node:crypto";
import type { EncryptionKeys } from "../../lib/encryption.ts";

/**
 * A refresh token names its session and its generation and carries a MAC over both and the session's salt. It
 * can be made again from the session's row, so the successor of a token whose answer was lost is the very same
 * one, and yet no token is stored: who reads the database lacks the secret, who has the secret lacks the salt.
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

/** What a token says, before anything of it is proved; undefined for what cannot be one. */
export function readRefreshToken(text: string): RefreshToken | undefined {
  const [, sessionId, generation] = FORMAT.exec(text) ?? [];
  return sessionId ? { sessionId, generation: Number(generation) } : undefined;
}

/** Whether we made the token for the session with this salt, by the present secret or the one before it. */
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
