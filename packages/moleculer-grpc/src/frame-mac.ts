import { createHmac, createSecretKey, timingSafeEqual } from "node:crypto";

export const NONCE_BYTES = 16;

const MAC_BYTES = 16;
const COUNTER_BYTES = 8;

export interface MacKeys {
  /** The secret that the stream's credential is signed by. */
  secret: string;
  /** The credential that opened the stream. */
  credential: string;
  /** Drawn by the server for this stream alone. */
  nonce: Buffer;
  prefix: string;
}

/** The texts of the two directions are part of the key. */
export type Direction = "asked" | "answered";

/**
 * Puts a MAC over its bytes and its number before each batch of one direction of one stream. The key is known only to
 * holders of the secret, and differs for each stream. So nothing can be inserted, changed, left out, moved or
 * replayed, although a call carries no credential of its own.
 */
export function macSigner(direction: Direction, keys: MacKeys): (bytes: Buffer) => Buffer {
  const next = macs(direction, keys);
  return (bytes) => Buffer.concat([next(bytes), bytes]);
}

/** Verifies and removes the MAC of `macSigner` of the same direction. @returns undefined for a wrong MAC */
export function macVerifier(direction: Direction, keys: MacKeys): (signed: Buffer) => Buffer | undefined {
  const next = macs(direction, keys);
  return (signed) => {
    if (signed.length < MAC_BYTES) return undefined;
    const bytes = signed.subarray(MAC_BYTES);
    return timingSafeEqual(next(bytes), signed.subarray(0, MAC_BYTES)) ? bytes : undefined;
  };
}

function macs(
  direction: Direction,
  { secret, credential, nonce, prefix }: MacKeys,
): (bytes: Buffer) => Buffer {
  const text = `${prefix} link v1\n${direction}\n${nonce.toString("hex")}\n${credential}`;
  const key = createSecretKey(createHmac("sha256", secret).update(text).digest());
  const number = Buffer.alloc(COUNTER_BYTES);
  let count = 0n;
  return (bytes) => {
    number.writeBigUInt64BE(count++);
    return createHmac("sha256", key).update(number).update(bytes).digest().subarray(0, MAC_BYTES);
  };
}
