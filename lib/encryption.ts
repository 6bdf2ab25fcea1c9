import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";

const FORMAT = "s1";
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const KEY_ID_BYTES = 6;

/** The secret for encryption, and the previous one, which still decrypts during a rotation. */
export interface EncryptionKeys {
  secret: string;
  previousSecret?: string | undefined;
}

/** The text was not encrypted with these keys and this `aad`, or it was changed. The message does not say which. */
export class DecryptionError extends Error {}

/**
 * Encrypts a text by AES-256-GCM with a key derived from the secret. The result begins with the id of the key, which
 * selects the key for decryption after the secret was changed.
 * @param aad additional authenticated data: the owner of the text, for example `banks/<row id>`. A text that is copied to
 *   another row cannot be decrypted there.
 */
export function encrypt(text: string, keys: EncryptionKeys, aad: string): string {
  const key = keyOf(keys.secret);
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv("aes-256-gcm", key.bytes, nonce).setAAD(Buffer.from(aad));
  const bytes = Buffer.concat([nonce, cipher.update(text, "utf8"), cipher.final(), cipher.getAuthTag()]);
  return `${FORMAT}.${key.id}.${bytes.toString("base64url")}`;
}

/** @throws DecryptionError when neither secret decrypts the text with this `aad` */
export function decrypt(encrypted: string, keys: EncryptionKeys, aad: string): string {
  const [format, keyId, body, ...rest] = encrypted.split(".");
  const key = [keys.secret, keys.previousSecret]
    .filter((secret) => secret !== undefined)
    .map(keyOf)
    .find(({ id }) => id === keyId);
  const bytes = Buffer.from(body ?? "", "base64url");
  if (format !== FORMAT || !key || rest.length > 0 || bytes.length < NONCE_BYTES + TAG_BYTES) {
    throw new DecryptionError("cannot be decrypted");
  }
  const decipher = createDecipheriv("aes-256-gcm", key.bytes, bytes.subarray(0, NONCE_BYTES))
    .setAAD(Buffer.from(aad))
    .setAuthTag(bytes.subarray(-TAG_BYTES));
  try {
    return (
      decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES), undefined, "utf8") + decipher.final("utf8")
    );
  } catch {
    throw new DecryptionError("cannot be decrypted");
  }
}

interface Key {
  id: string;
  bytes: Buffer;
}

const derived = new Map<string, Key>();

/** Derived keys are cached: a process has two secrets at most. */
function keyOf(secret: string): Key {
  let key = derived.get(secret);
  if (!key) {
    const bytes = Buffer.from(hkdfSync("sha256", secret, "", "waybill seal", KEY_BYTES + KEY_ID_BYTES));
    key = { bytes: bytes.subarray(0, KEY_BYTES), id: bytes.subarray(KEY_BYTES).toString("hex") };
    derived.set(secret, key);
  }
  return key;
}
