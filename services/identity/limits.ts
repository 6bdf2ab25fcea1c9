import { fail } from "../../contracts/errors.ts";
import { networkOf } from "../../lib/net/network-of.ts";
import type { Db } from "../../mixins/postgres/database.ts";
import { countUse, forgetUse, hasUse, uncountUse } from "./limits.repository.ts";
import { isKind, type Parts } from "./parts.ts";

/** So many uses in a window that begins with the first one. Counted in PostgreSQL: exact over all replicas. */
export interface Allowance {
  scope: string;
  max: number;
  windowSeconds: number;
}

/**
 * Wrong passwords for one address from one client. Nobody can use up the tries of another: whoever knows an address
 * locks it for themselves only.
 */
export const PASSWORD_TRIES: Allowance = { scope: "password", max: 10, windowSeconds: 900 };
/**
 * Wrong passwords for one address from all clients together, against a guesser with many. It binds only clients that
 * nobody has signed in from lately: the owner's own go on under their tries alone.
 */
export const PASSWORD_TRIES_PER_ADDRESS: Allowance = { scope: "password", max: 50, windowSeconds: 3_600 };
/** Wrong passwords from one client, which may be many people's. */
export const PASSWORD_TRIES_PER_CLIENT: Allowance = { scope: "password-ip", max: 100, windowSeconds: 900 };
/** For how long a client counts as the owner's after a right password. */
const KNOWN_CLIENT: Allowance = { scope: "password-known", max: 1, windowSeconds: 30 * 86_400 };
const CLIENT_LENGTH = 20;
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
 * Runs a check of a password under the limits per address, per client and per both. Only tries that fail count in the
 * end. The gateway always says who the client is; a call that names none comes from inside, as the console's does, and
 * only the tries of such calls can lock it.
 * @param work throws, or answers false, for a wrong password
 */
export async function limitedPasswordTry<T>(
  parts: Parts,
  who: { email: string; ip?: string | undefined },
  work: () => Promise<T>,
): Promise<T> {
  const { db } = parts.postgres;
  const subjects = subjectsOf(parts, who);
  const counted: [Allowance, string][] = [];
  const count = async (allowance: Allowance, subject: string) => {
    await takeOne(db, allowance, subject);
    counted.push([allowance, subject]);
  };
  const uncount = () => Promise.all(counted.map(([{ scope }, subject]) => uncountUse(db, scope, subject)));

  await count(PASSWORD_TRIES, subjects.pair);
  if (subjects.client) {
    await count(PASSWORD_TRIES_PER_CLIENT, subjects.client);
    if (!(await hasUse(db, KNOWN_CLIENT.scope, subjects.pair))) {
      await count(PASSWORD_TRIES_PER_ADDRESS, subjects.address);
    }
  }
  const result = await work().catch(async (error) => {
    if (!isKind(error, "wrong_credentials")) await uncount();
    throw error;
  });
  if (result !== false) {
    await uncount();
    await forgetUse(db, PASSWORD_TRIES.scope, subjects.pair);
    if (subjects.client) await countUse(db, KNOWN_CLIENT.scope, subjects.pair, KNOWN_CLIENT.windowSeconds);
  }
  return result;
}

/** What is counted under one address begins with its digest, so that it can be forgotten together with it. */
function subjectsOf({ digest }: Parts, { email, ip }: { email: string; ip?: string | undefined }) {
  const address = digest(email);
  const client = ip === undefined ? undefined : digest(networkOf(ip));
  return { address, client, pair: `${address}.${(client ?? "inside").slice(0, CLIENT_LENGTH)}` };
}
