import { createCipheriv, createECDH, type ECDH, hkdfSync, randomBytes } from "node:crypto";
import type { Subscription } from "./webpush-subscription.ts";

const SALT_BYTES = 16;
const TAG_BYTES = 16;
/** One record holds the whole message. */
const RECORD_SIZE = 4_096;
const LAST_RECORD = Buffer.from([2]);
const HEADER_BYTES = SALT_BYTES + 4 + 1 + 65;

/** Maximum size before encryption: every push service accepts a body of 4,096 bytes (RFC 8030, section 7.2). */
export const PLAIN_MAX_BYTES = 4_096 - HEADER_BYTES - LAST_RECORD.length - TAG_BYTES;

/** The key pair and the salt of one message. */
interface Ephemeral {
  sender: ECDH;
  salt: Buffer;
}

/**
 * Encrypts a message for one browser (RFC 8291, `aes128gcm` of RFC 8188).
 * @param ephemeral only for the test with the example of the RFC; a reused key or salt would reveal messages
 */
export function encrypted(
  plain: Buffer,
  { publicKey, authSecret }: Pick<Subscription, "publicKey" | "authSecret">,
  { sender, salt }: Ephemeral = newEphemeral(),
): Buffer {
  const senderKey = sender.getPublicKey();
  const about = Buffer.concat([Buffer.from("WebPush: info\0"), publicKey, senderKey]);
  const secret = hkdfSync("sha256", sender.computeSecret(publicKey), authSecret, about, 32);
  const derived = (info: string, length: number) =>
    Buffer.from(hkdfSync("sha256", Buffer.from(secret), salt, Buffer.from(info), length));
  const key = derived("Content-Encoding: aes128gcm\0", 16);
  const nonce = derived("Content-Encoding: nonce\0", 12);
  const cipher = createCipheriv("aes-128-gcm", key, nonce);
  const record = [cipher.update(plain), cipher.update(LAST_RECORD), cipher.final(), cipher.getAuthTag()];
  const size = Buffer.alloc(5);
  size.writeUInt32BE(RECORD_SIZE);
  size.writeUInt8(senderKey.length, 4);
  return Buffer.concat([salt, size, senderKey, ...record]);
}

function newEphemeral(): Ephemeral {
  const sender = createECDH("prime256v1");
  sender.generateKeys();
  return { sender, salt: randomBytes(SALT_BYTES) };
}
