import { fail } from "../../contracts/errors.ts";
import type { Db } from "../../mixins/postgres/database.ts";
import { countUse, forgetUses, uncountUse } from "./limits.repository.ts";
import { isKind, type Parts } from "./parts.ts";

/** So many uses in a window that begins with the first one. Counted in PostgreSQL: exact over all replicas. */
export interface Allowance {
  scope: string;
  max: number;
  windowSeconds: number;
}

/** Wrong passwords for one address. */
export const PASSWORD_TRIES: Allowance = { scope: "password", max: 10, windowSeconds: 900 };
/** Wrong passwords from one network address, which may be that of many people. */
export const PASSWORD_TRIES_PER_IP: Allowance = { scope: "password-ip", max: 100, windowSeconds: 900 };
/** Mails that strangers can cause to one address. */
export const MAILS: Allowance = { scope: "mail", max: 6, windowSeconds: 3_600 };
/** Wrong codes for one address, whichever codes: what five tries for each code sum up to otherwise is too many. */
export const CODE_TRIES: Allowance = { scope: "code", max: 25, windowSeconds: 86_400 };

/**
 * Takes one use, counted before the work begins, so that tries made at once do not slip through together.
 * @throws TOO_MANY_REQUESTS with `retryAfterSeconds`
 */
export async function takeOne(
  db: Db,
  { scope, max, windowSeconds }: Allowance,
  subject: string,
): Promise<void> {
  const { used, renewedInSeconds } = await countUse(db, scope, subject, windowSeconds);
  if (used > max) {
    throw fail("TOO_MANY_REQUESTS", "Too many tries. Wait before the next one.", {
      retryAfterSeconds: renewedInSeconds,
    });
  }
}

/**
 * Runs a check of a password under the limits per address and per client. Only tries that fail count in the end.
 * @param work throws, or answers false, for a wrong password
 */
export async function limitedPasswordTry<T>(
  { postgres, digest }: Parts,
  who: { email: string; ip?: string | undefined },
  work: () => Promise<T>,
): Promise<T> {
  const address = digest(who.email);
  const client = who.ip === undefined ? undefined : digest(who.ip);
  await takeOne(postgres.db, PASSWORD_TRIES, address);
  if (client) await takeOne(postgres.db, PASSWORD_TRIES_PER_IP, client);
  const uncountClient = async () => {
    if (client) await uncountUse(postgres.db, PASSWORD_TRIES_PER_IP.scope, client);
  };
  const result = await work().catch(async (error) => {
    if (!isKind(error, "wrong_credentials")) {
      await uncountUse(postgres.db, PASSWORD_TRIES.scope, address);
      await uncountClient();
    }
    throw error;
  });
  if (result !== false) {
    await forgetUses(postgres.db, PASSWORD_TRIES.scope, address);
    await uncountClient();
  }
  return result;
}
