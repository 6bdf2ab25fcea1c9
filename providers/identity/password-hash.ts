import { type Argon2Parameters, argon2, randomBytes, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";
import { IdentityError } from "./port.ts";

export interface PasswordCost {
  memoryKiB: number;
  passes: number;
}

/** OWASP's first choice for argon2id: 44 ms on the machine where it was measured. */
export const PASSWORD_COST: PasswordCost = { memoryKiB: 19_456, passes: 2 };

const HASH_BYTES = 32;
const SALT_BYTES = 16;
/** With four threads and 44 ms each, the last one waits for half a second; more would time out. */
const MAX_WAITING = 48;

const run = promisify(argon2) as (name: "argon2id", parameters: Argon2Parameters) => Promise<Buffer>;

export interface PasswordHasher {
  /** In PHC's string format. @throws IdentityError overloaded */
  hash(password: string): Promise<string>;
  /**
   * Whether the hash is of this password. Without a hash it does the same work and returns false, so that the time does
   * not show whether the account exists. @throws IdentityError overloaded
   */
  matches(password: string, hash: string | undefined): Promise<boolean>;
  /** Whether the hash has other parameters than the current ones. */
  isOutdated(hash: string): boolean;
}

/** Hashes passwords with argon2id on libuv's threads, and limits how many wait. */
export function passwordHasher(cost: PasswordCost = PASSWORD_COST): PasswordHasher {
  const parameters = `m=${cost.memoryKiB},t=${cost.passes},p=1`;
  const dummy = { ...cost, salt: randomBytes(SALT_BYTES), digest: randomBytes(HASH_BYTES) };
  let waiting = 0;

  async function derive(password: string, salt: Buffer, { memoryKiB, passes }: PasswordCost) {
    if (waiting >= MAX_WAITING) throw new IdentityError("overloaded");
    waiting++;
    try {
      return await run("argon2id", {
        message: password.normalize("NFC"),
        nonce: salt,
        parallelism: 1,
        tagLength: HASH_BYTES,
        memory: memoryKiB,
        passes,
      });
    } finally {
      waiting--;
    }
  }

  return {
    async hash(password) {
      const salt = randomBytes(SALT_BYTES);
      const digest = await derive(password, salt, cost);
      return `$argon2id$v=19$${parameters}$${base64(salt)}$${base64(digest)}`;
    },
    async matches(password, hash) {
      const known = (hash === undefined ? undefined : parse(hash)) ?? dummy;
      const digest = await derive(password, known.salt, known);
      return timingSafeEqual(digest, known.digest) && known !== dummy;
    },
    isOutdated: (hash) => !hash.startsWith(`$argon2id$v=19$${parameters}$`),
  };
}

const FORMAT = /^\$argon2id\$v=19\$m=(\d+),t=(\d+),p=1\$([A-Za-z0-9+/]{22})\$([A-Za-z0-9+/]{43})$/;

function parse(hash: string): (PasswordCost & { salt: Buffer; digest: Buffer }) | undefined {
  const [, memory, passes, salt, digest] = FORMAT.exec(hash) ?? [];
  if (!salt || !digest) return undefined;
  return {
    memoryKiB: Number(memory),
    passes: Number(passes),
    salt: Buffer.from(salt, "base64"),
    digest: Buffer.from(digest, "base64"),
  };
}

function base64(bytes: Buffer): string {
  return bytes.toString("base64").replaceAll("=", "");
}
