import { createPrivateKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import type { Clock } from "../../lib/clock.ts";
import { decrypt, type EncryptionKeys, encrypt } from "../../lib/encryption.ts";
import { newId } from "../../lib/ids.ts";
import {
  insertSigningKey,
  lockSigningKeys,
  type SigningKeyRow,
  type Sql,
  signingKeyIsDue,
  signingKeys,
  sweepSigningKeys,
} from "./built-in.repository.ts";
import type { SigningKey } from "./port.ts";

const ROTATE_AFTER_SECONDS = 30 * 86_400;
/** Longer than tokens are valid and than verifiers and replicas cache the keys. */
const DELETE_AFTER_SECONDS = 86_400;
/** A new key signs only after every verifier has had time to load it. */
const SIGN_AFTER_SECONDS = 900;
const RELOAD_AFTER_MS = 60_000;

export interface Signer {
  kid: string;
  privateKey: KeyObject;
}

export interface SigningKeys {
  signer(): Promise<Signer>;
  published(): Promise<SigningKey[]>;
  /** Creates a key when one is due, or at once, and deletes keys without valid tokens. */
  rotate(options?: { atOnce?: boolean }): Promise<void>;
}

/** ES256 keys with encrypted private keys. All replicas read the same table; the newest known key signs. */
export function signingKeyStore(sql: Sql, encryptionKeys: EncryptionKeys, clock: Clock): SigningKeys {
  let loaded: Promise<{ signer: Signer | undefined; published: SigningKey[] }> | undefined;
  let loadedAtMs = 0;

  async function load() {
    const rows = await signingKeys(sql, SIGN_AFTER_SECONDS);
    const usable = rows.flatMap((row) => decrypted(row, encryptionKeys));
    const signer = usable.find(({ known }) => known) ?? usable[0];
    return { signer, published: rows.map(({ publicJwk }) => publicJwk) };
  }

  async function createKeyIf(due: (sql: Sql) => Promise<boolean>): Promise<void> {
    await sql.transact(async (trx) => {
      await lockSigningKeys(trx);
      if (await due(trx)) await insertSigningKey(trx, newKey(encryptionKeys));
      await sweepSigningKeys(trx, DELETE_AFTER_SECONDS);
    });
    loaded = undefined;
  }

  async function current() {
    if (!loaded || clock.now() - loadedAtMs > RELOAD_AFTER_MS) {
      loadedAtMs = clock.now();
      const loading = load();
      loaded = loading;
      loading.catch(() => {
        if (loaded === loading) loaded = undefined;
      });
    }
    return loaded;
  }

  /** The keys. Creates one when there is none that can be decrypted, as after the loss of the secret. */
  async function ensureSigner() {
    const found = await current();
    if (found.signer) return { ...found, signer: found.signer };
    await createKeyIf(
      async (trx) =>
        (await signingKeys(trx, 0)).flatMap((row) => decrypted(row, encryptionKeys)).length === 0,
    );
    const created = await current();
    if (!created.signer) throw new Error("the new signing key cannot be decrypted");
    return { ...created, signer: created.signer };
  }

  return {
    signer: async () => (await ensureSigner()).signer,
    published: async () => (await ensureSigner()).published,
    rotate: ({ atOnce = false } = {}) =>
      createKeyIf(async (trx) => atOnce || (await signingKeyIsDue(trx, ROTATE_AFTER_SECONDS))),
  };
}

function newKey(encryptionKeys: EncryptionKeys): Omit<SigningKeyRow, "known"> {
  const id = newId();
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const publicJwk = { ...publicKey.export({ format: "jwk" }), kid: id, alg: "ES256", use: "sig" };
  const pem = privateKey.export({ type: "pkcs8", format: "pem" }) as string;
  return {
    id,
    publicJwk: publicJwk as SigningKey,
    privateKeySealed: encrypt(pem, encryptionKeys, aadOf(id)),
  };
}

function decrypted(row: SigningKeyRow, encryptionKeys: EncryptionKeys): (Signer & { known: boolean })[] {
  try {
    const pem = decrypt(row.privateKeySealed, encryptionKeys, aadOf(row.id));
    return [{ kid: row.id, privateKey: createPrivateKey(pem), known: row.known }];
  } catch {
    return [];
  }
}

function aadOf(id: string): string {
  return `signing_keys/${id}`;
}
