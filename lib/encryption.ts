import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";

const FORMAT = "s1";
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const KEY_ID_BYTES = 6;

/** The secret that seals, and the one before it, which still opens while it is being replaced. */
export interface EncryptionKeys {
  secret: string;
  previousSecret?: string | undefined;
}

/** Something that was not sealed by these keys for this place, or was altered since. Never says which. */
export class DecryptionError extends Error {}

/**
 * Encrypts a text for one place: AES-256-GCM under a key derived from the secret. The key's id stands in front,
 * so that after a change of the secret each text says which one opens it.
 * @param place what the text belongs to, e.g. `banks/<row id>`: copied to another row it does not open there
 */
export function encrypt(text: string, keys: EncryptionKeys, place: string): string {
  const key = keyOf(keys.secret);
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv("aes-256-gcm", key.bytes, nonce).setAAD(Buffer.from(place));
  const sealed = Buffer.concat([nonce, cipher.update(text, "utf8"), cipher.final(), cipher.getAuthTag()]);
  return `${FORMAT}.${key.id}.${sealed.toString("base64url")}`;
}

/** @throws DecryptionError when neither secret opens the text at this place */
export function decrypt(sealed: string, keys: EncryptionKeys, place: string): string {
  const [format, keyId, body, ...rest] = sealed.split(".");
  const key = [keys.secret, keys.previousSecret]
    .filter((secret) => secret !== undefined)
    .map(keyOf)
    .find(({ id }) => id === keyId);
  const bytes = Buffer.from(body ?? "", "base64url");
  if (format !== FORMAT || !key || rest.length > 0 || bytes.length < NONCE_BYTES + TAG_BYTES) {
    throw new DecryptionError("cannot be opened");
  }
  const decipher = createDecipheriv("aes-256-gcm", key.bytes, bytes.subarray(0, NONCE_BYTES))
    .setAAD(Buffer.from(place))
    .setAuthTag(bytes.subarray(-TAG_BYTES));
  try {
    return (
      decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES), undefined, "utf8") + decipher.final("utf8")
    );
  } catch {
    throw new DecryptionError("cannot be opened");
  }
}

interface Key {
  id: string;
  bytes: Buffer;
}

const derived = new Map<string, Key>();

/** The derivation is remembered: a process knows two secrets at most. */
function keyOf(secret: string): Key {
  let key = derived.get(secret);
  if (!key) {
    const bytes = Buffer.from(hkdfSync("sha256", secret, "", "waybill seal", KEY_BYTES + KEY_ID_BYTES));
    key = { bytes: bytes.subarray(0, KEY_BYTES), id: bytes.subarray(KEY_BYTES).toString("hex") };
    derived.set(secret, key);
  }
  return key;
}
