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
/** Longer than a token lives and than any verifier or replica goes on with the set that it has. */
const FORGET_AFTER_SECONDS = 86_400;
/** A new key signs only when every verifier has had the time to learn of it. */
const SIGN_AFTER_SECONDS = 900;
const RELOAD_AFTER_MS = 60_000;

export interface Signer {
  kid: string;
  privateKey: KeyObject;
}

export interface SigningKeys {
  signer(): Promise<Signer>;
  published(): Promise<SigningKey[]>;
  /** Makes a new key where one is due, or at once, and forgets those that signed nothing that is still live. */
  rotate(options?: { atOnce?: boolean }): Promise<void>;
}

/** ES256 keys, private halves sealed at rest. All replicas read the same table; the newest known key signs. */
export function signingKeyStore(sql: Sql, seals: EncryptionKeys, clock: Clock): SigningKeys {
  let loaded: Promise<{ signer: Signer | undefined; published: SigningKey[] }> | undefined;
  let loadedAtMs = 0;

  async function load() {
    const rows = await signingKeys(sql, SIGN_AFTER_SECONDS);
    const usable = rows.flatMap((row) => opened(row, seals));
    const signer = usable.find(({ known }) => known) ?? usable[0];
    return { signer, published: rows.map(({ publicJwk }) => publicJwk) };
  }

  async function make(due: (sql: Sql) => Promise<boolean>): Promise<void> {
    await sql.transact(async (trx) => {
      await lockSigningKeys(trx);
      if (await due(trx)) await insertSigningKey(trx, newKey(seals));
      await sweepSigningKeys(trx, FORGET_AFTER_SECONDS);
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

  /** The keys, the first one made now; also when the seal's secret was lost and none of those there opens. */
  async function ready() {
    const found = await current();
    if (found.signer) return { ...found, signer: found.signer };
    await make(async (trx) => (await signingKeys(trx, 0)).flatMap((row) => opened(row, seals)).length === 0);
    const made = await current();
    if (!made.signer) throw new Error("the key that was made cannot be opened");
    return { ...made, signer: made.signer };
  }

  return {
    signer: async () => (await ready()).signer,
    published: async () => (await ready()).published,
    rotate: ({ atOnce = false } = {}) =>
      make(async (trx) => atOnce || (await signingKeyIsDue(trx, ROTATE_AFTER_SECONDS))),
  };
}

function newKey(seals: EncryptionKeys): Omit<SigningKeyRow, "known"> {
  const id = newId();
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const publicJwk = { ...publicKey.export({ format: "jwk" }), kid: id, alg: "ES256", use: "sig" };
  const pem = privateKey.export({ type: "pkcs8", format: "pem" }) as string;
  return { id, publicJwk: publicJwk as SigningKey, privateKeySealed: encrypt(pem, seals, placeOf(id)) };
}

function opened(row: SigningKeyRow, seals: EncryptionKeys): (Signer & { known: boolean })[] {
  try {
    const pem = decrypt(row.privateKeySealed, seals, placeOf(row.id));
    return [{ kid: row.id, privateKey: createPrivateKey(pem), known: row.known }];
  } catch {
    return [];
  }
}

function placeOf(id: string): string {
  return `signing_keys/${id}`;
}
