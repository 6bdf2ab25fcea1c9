import { createHmac, createSecretKey, timingSafeEqual } from "node:crypto";

/** The key under which the answering side tells the link's nonce, in the metadata of its answer. */
export const NONCE_KEY = "waybill-link-nonce-bin";
export const NONCE_BYTES = 16;

const SEAL_BYTES = 16;
const COUNTER_BYTES = 8;

export interface LinkSecrets {
  /** The secret that the link's credential was signed by. */
  secret: string;
  /** What the link was opened with. */
  credential: string;
  /** What the answering side drew for this link alone. */
  nonce: Buffer;
}

export type Way = "asked" | "answered";

/**
 * Seals what goes one way over one link: a MAC over each message and its place among the others, by a key that only
 * nodes with the platform's secret can make, and for this link alone. So nothing can be put in, altered, left out,
 * moved or played again, although a call carries no credential of its own.
 */
export function linkSealer(way: Way, secrets: LinkSecrets): (bytes: Buffer) => Buffer {
  const macOf = counted(way, secrets);
  return (bytes) => Buffer.concat([macOf(bytes), bytes]);
}

/** Opens what `linkSealer` of the same way has sealed. @returns undefined for anything else */
export function linkOpener(way: Way, secrets: LinkSecrets): (sealed: Buffer) => Buffer | undefined {
  const macOf = counted(way, secrets);
  return (sealed) => {
    if (sealed.length < SEAL_BYTES) return undefined;
    const bytes = sealed.subarray(SEAL_BYTES);
    return timingSafeEqual(macOf(bytes), sealed.subarray(0, SEAL_BYTES)) ? bytes : undefined;
  };
}

/** The MAC of each message in turn. */
function counted(way: Way, { secret, credential, nonce }: LinkSecrets): (bytes: Buffer) => Buffer {
  const words = `waybill link v1\n${way}\n${nonce.toString("hex")}\n${credential}`;
  const key = createSecretKey(createHmac("sha256", secret).update(words).digest());
  const place = Buffer.alloc(COUNTER_BYTES);
  let count = 0n;
  return (bytes) => {
    place.writeBigUInt64BE(count++);
    return createHmac("sha256", key).update(place).update(bytes).digest().subarray(0, SEAL_BYTES);
  };
}
