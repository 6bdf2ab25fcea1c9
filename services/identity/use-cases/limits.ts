import { fail } from "../../../contracts/errors.ts";
import { networkOf } from "../../../lib/net/network-of.ts";
import type { Db } from "../../../lib/sql/database.ts";
import { type IdentityDependencies, isKind } from "../dependencies.ts";
import { type CodeKey, hasOwnCode, type Purpose } from "../store/codes.repository.ts";
import {
  type Allowance,
  countUse,
  hasUse,
  type Reservation,
  releaseReservation,
  reserveUse,
  resetAllowance,
  resetAllowances,
  secondsUntilAvailable,
} from "../store/limits.repository.ts";

/** Longer than a try takes. The reservation of a lost connection or process expires after this. */
const RESERVATION_SECONDS = 5;
/**
 * Wrong passwords for one address from one client. A client cannot use up the tries of another: it locks the address for
 * itself only.
 */
export const PASSWORD_TRIES: Allowance = { scope: "password", max: 10, windowSeconds: 900 };
/**
 * Wrong passwords for one address from all clients together, against a guesser with many clients. It applies only to
 * clients without a recent sign-in: the owner's own clients are limited by their own tries only.
 */
export const PASSWORD_TRIES_PER_ADDRESS: Allowance = { scope: "password", max: 50, windowSeconds: 3_600 };
/** Wrong passwords from one client, which many people may share. */
export const PASSWORD_TRIES_PER_CLIENT: Allowance = { scope: "password-ip", max: 100, windowSeconds: 900 };
/** How long a client counts as the owner's after a right password. */
const KNOWN_CLIENT: Allowance = { scope: "password-known", max: 1, windowSeconds: 30 * 86_400 };
const CLIENT_LENGTH = 20;
/** Mails from one requester to one address. A requester cannot use up the mails of another. */
const MAILS: Allowance = { scope: "mail", max: 6, windowSeconds: 3_600 };
/** Mails to one address from all requesters together, except clients with a recent sign-in. */
const MAILS_PER_ADDRESS: Allowance = { scope: "mail-address", max: 60, windowSeconds: 3_600 };
/** Wrong codes of one purpose for one address from one client, counted whether or not a code is live. */
const CODE_TRIES = { max: 10, windowSeconds: 86_400 };
/**
 * The same from all clients together, counted only while a code is valid, so that it cannot be used up beforehand. Each
 * code permits five tries and an address six mails an hour, which would be 720 tries a day. This limit permits 50, so
 * that many clients that guess all day find one of the million codes with a probability of 1 in 20,000. It does not
 * apply to clients with a recent sign-in of the owner, of which each has its ten tries: 1 in 100,000 more. Strangers can
 * guess codes for two purposes, a new address and a forgotten password, and only one of them is useful at a time.
 */
const CODE_TRIES_PER_ADDRESS = { max: 50, windowSeconds: 86_400 };
/**
 * The same for tries at codes that the client requested itself: five for each of twenty mails. Together with the tries at
 * codes of others, many clients have 150 tries a day: a probability of 1 in 6,667.
 */
const OWN_CODE_TRIES_PER_ADDRESS = { max: 100, windowSeconds: 86_400 };

/** The requester: a digest of the network of the request, or "inside" for a call without an address. */
export function requesterOf(
  { digest }: Pick<IdentityDependencies, "digest">,
  ip: string | undefined,
): string {
  return (ip === undefined ? "inside" : digest(networkOf(ip))).slice(0, CLIENT_LENGTH);
}

/**
 * Counts one mail to an address. The count stays even if the request fails later.
 * @throws TOO_MANY_REQUESTS with `retryAfterSeconds`
 */
export async function consumeMailLimit(
  deps: IdentityDependencies,
  email: string,
  ip: string | undefined,
): Promise<void> {
  const { db } = deps.postgres;
  const { address, client, pair } = subjectsOf(deps, { address: deps.digest(email), ip });
  await consume(db, MAILS, pair);
  const isKnown = !client || (await hasUse(db, KNOWN_CLIENT.scope, pair));
  if (!isKnown) await consume(db, MAILS_PER_ADDRESS, address);
}

/** The same for a mail that a signed-in user causes. */
export async function consumeMailLimitOfUser(
  deps: IdentityDependencies,
  db: Db,
  email: string,
  userId: string,
): Promise<void> {
  await consume(db, MAILS, `${deps.digest(email)}.${deps.digest(userId).slice(0, CLIENT_LENGTH)}`);
}

async function consume(db: Db, allowance: Allowance, subject: string): Promise<void> {
  const { used, renewedInSeconds } = await countUse(db, allowance, subject);
  if (used > allowance.max) throw tooManyRequests(renewedInSeconds);
}

const tooManyRequests = (retryAfterSeconds: number) =>
  fail("TOO_MANY_REQUESTS", "Too many tries. Wait before the next one.", { retryAfterSeconds });

/** The reservation of a try in one allowance. A try reserves one use in every allowance before it begins. */
interface ReservedUse {
  allowance: Allowance;
  subject: string;
  reservation: Reservation;
}

/**
 * Reserves one use in each allowance, so that concurrent tries cannot exceed it. Reservations expire after seconds: a
 * try that a lost connection or a crash interrupts does not count as a wrong password.
 * @throws TOO_MANY_REQUESTS with `retryAfterSeconds`; then nothing is reserved
 */
async function reserveAll(db: Db, wanted: readonly [Allowance, string][]): Promise<ReservedUse[]> {
  const reserved: ReservedUse[] = [];
  for (const [allowance, subject] of wanted) {
    const reservation = await reserveUse(db, allowance, subject, RESERVATION_SECONDS);
    if (reservation === undefined) {
      const [seconds] = await Promise.all([
        secondsUntilAvailable(db, allowance, subject),
        releaseAll(db, reserved),
      ]);
      throw tooManyRequests(seconds);
    }
    reserved.push({ allowance, subject, reservation });
  }
  return reserved;
}

/** Counts a wrong try. It is committed before the client gets the answer. */
async function countAll(db: Db, reserved: readonly ReservedUse[]): Promise<void> {
  await Promise.all(
    reserved.map(({ allowance, subject, reservation }) => countUse(db, allowance, subject, reservation)),
  );
}

async function releaseAll(db: Db, reserved: readonly ReservedUse[]): Promise<void> {
  const released = reserved.map(({ allowance, subject, reservation }) =>
    releaseReservation(db, allowance, subject, reservation),
  );
  await Promise.allSettled(released); // a reservation that is not released expires
}

/**
 * Checks a password under the limits per address, per client and per both. Only wrong passwords count. The gateway
 * always passes the client's IP address. A call without one comes from inside, for example from the console, and shares
 * its limit only with such calls.
 * @param work rejects or returns false for a wrong password
 */
export async function limitedPasswordTry<T>(
  deps: IdentityDependencies,
  who: { email: string; ip?: string | undefined },
  work: () => Promise<T>,
): Promise<T> {
  const { db } = deps.postgres;
  const { address, client, pair } = subjectsOf(deps, { address: deps.digest(who.email), ip: who.ip });
  const wanted: [Allowance, string][] = [[PASSWORD_TRIES, pair]];
  if (client) {
    wanted.push([PASSWORD_TRIES_PER_CLIENT, client]);
    if (!(await hasUse(db, KNOWN_CLIENT.scope, pair))) wanted.push([PASSWORD_TRIES_PER_ADDRESS, address]);
  }
  const reserved = await reserveAll(db, wanted);
  const result = await work().catch(async (error) => {
    await (isKind(error, "wrong_credentials") ? countAll : releaseAll)(db, reserved);
    throw error;
  });
  if (result === false) {
    await countAll(db, reserved);
  } else {
    await releaseAll(db, reserved);
    await resetAllowance(db, PASSWORD_TRIES.scope, pair);
    if (client) await countUse(db, KNOWN_CLIENT, pair);
  }
  return result;
}

/**
 * Checks a code under the limits per client and per address. A refusal here does not use up a try of the code, so that a
 * guesser cannot use up later codes. A requester's tries at its own code are counted separately from tries at codes of
 * others, so that guessing clients do not lock a requester out of its own code.
 * @param findExpected resolves to the live code, undefined when there is none
 * @throws TOO_MANY_REQUESTS
 */
export async function limitedCodeTry<T>(
  deps: IdentityDependencies,
  key: CodeKey,
  ip: string | undefined,
  findExpected: () => Promise<T | undefined>,
): Promise<T | undefined> {
  const { db } = deps.postgres;
  const scope = codeScope(key.purpose);
  const { address, client, pair } = subjectsOf(deps, { address: key.address, ip });
  const isOwn = await hasOwnCode(db, key);
  const isKnown = !client || (await hasUse(db, KNOWN_CLIENT.scope, pair));
  const ofAll: Allowance = isOwn
    ? { ...OWN_CODE_TRIES_PER_ADDRESS, scope: `${scope} own` }
    : { ...CODE_TRIES_PER_ADDRESS, scope };
  const reserved = await reserveAll(db, [
    [{ ...CODE_TRIES, scope }, pair],
    ...(isKnown ? [] : [[ofAll, address] satisfies [Allowance, string]]),
  ]);
  // When this fails, the database does: the reservations expire.
  const expected = await findExpected();
  // Without a live code the try counts for the client only. Otherwise any client could use up the limit of an address early.
  await Promise.all([
    countAll(db, reserved.slice(0, 1)),
    (expected ? countAll : releaseAll)(db, reserved.slice(1)),
  ]);
  return expected;
}

/** Resets the tries of an address after a right code. */
export async function resetCodeTries(db: Db, { purpose, address }: CodeKey): Promise<void> {
  const scope = codeScope(purpose);
  await resetAllowances(db, scope, address);
  await resetAllowances(db, `${scope} own`, address);
}

/** One scope per purpose, so that guessing for one purpose does not block the others. */
const codeScope = (purpose: Purpose) => `code ${purpose}`;

/** Every subject of an address begins with the digest of the address, so that all can be deleted together. */
function subjectsOf(
  { digest }: IdentityDependencies,
  { address, ip }: { address: string; ip?: string | undefined },
) {
  const client = ip === undefined ? undefined : digest(networkOf(ip));
  return { address, client, pair: `${address}.${(client ?? "inside").slice(0, CLIENT_LENGTH)}` };
}
