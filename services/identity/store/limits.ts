import { fail } from "../../../contracts/errors.ts";
import { networkOf } from "../../../lib/net/network-of.ts";
import type { Db } from "../../../lib/sql/database.ts";
import { type IdentityDependencies, isKind } from "../dependencies.ts";
import { type CodeOf, hasOwnCode, type Purpose } from "./codes.repository.ts";
import {
  type Allowance,
  countUse,
  forgetUse,
  forgetUses,
  type Hold,
  hasUse,
  holdUse,
  releaseUse,
  secondsUntilRoom,
} from "./limits.repository.ts";

/** Longer than a try takes; what was under way when a connection or a process was lost is forgotten after it. */
const HOLD_SECONDS = 5;
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
/** Mails that one requester can cause to one address: nobody uses up the mails of another. */
const MAILS: Allowance = { scope: "mail", max: 6, windowSeconds: 3_600 };
/** Mails to one address for all requesters together that nobody has signed in from lately. */
const MAILS_PER_ADDRESS: Allowance = { scope: "mail-address", max: 60, windowSeconds: 3_600 };
/** Wrong codes of one purpose for one address from one client, counted whether or not a code is live. */
const CODE_TRIES = { max: 10, windowSeconds: 86_400 };
/**
 * The same from all clients together, counted only where a code is live: nobody fills it up beforehand. Each code bears
 * five tries and an address six mails an hour, which would be 720 tries a day; this leaves 50, so that a crowd that
 * guesses all day finds one of the million codes with a chance of 1 in 20,000. It does not bind clients that the owner
 * signed in from lately, of which each has its ten tries: 1 in 100,000 more. Of the purposes that strangers can guess
 * at, a new address and a forgotten password, only one opens anything at a time.
 */
const CODE_TRIES_PER_ADDRESS = { max: 50, windowSeconds: 86_400 };
/**
 * The same for tries at codes that the client asked for itself: each of twenty mails bears five. With those at the codes
 * of others a crowd has 150 tries a day: a chance of 1 in 6,667.
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
 * Takes one mail to an address, for good: what follows may fail.
 * @throws TOO_MANY_REQUESTS with `retryAfterSeconds`
 */
export async function takeMail(
  parts: IdentityDependencies,
  email: string,
  ip: string | undefined,
): Promise<void> {
  const { db } = parts.postgres;
  const { address, client, pair } = subjectsOf(parts, { address: parts.digest(email), ip });
  await takeOne(db, MAILS, pair);
  const isKnown = !client || (await hasUse(db, KNOWN_CLIENT.scope, pair));
  if (!isKnown) await takeOne(db, MAILS_PER_ADDRESS, address);
}

/** The same for a mail that somebody who is signed in sends. */
export async function takeMailOf(
  parts: IdentityDependencies,
  db: Db,
  email: string,
  userId: string,
): Promise<void> {
  await takeOne(db, MAILS, `${parts.digest(email)}.${parts.digest(userId).slice(0, CLIENT_LENGTH)}`);
}

async function takeOne(db: Db, allowance: Allowance, subject: string): Promise<void> {
  const { used, renewedInSeconds } = await countUse(db, allowance, subject);
  if (used > allowance.max) throw tooMany(renewedInSeconds);
}

const tooMany = (retryAfterSeconds: number) =>
  fail("TOO_MANY_REQUESTS", "Too many tries. Wait before the next one.", { retryAfterSeconds });

/** A try that is under way: it has a place in every allowance before it begins. */
interface Place {
  allowance: Allowance;
  subject: string;
  hold: Hold;
}

/**
 * Takes the places of one try, so that tries made at once do not slip through together. They are held for seconds:
 * a try that comes to no end, because the database is cut off or a process dies, is nobody's wrong password.
 * @throws TOO_MANY_REQUESTS with `retryAfterSeconds`; then no place is taken
 */
async function begin(db: Db, wanted: readonly [Allowance, string][]): Promise<Place[]> {
  const places: Place[] = [];
  for (const [allowance, subject] of wanted) {
    const hold = await holdUse(db, allowance, subject, HOLD_SECONDS);
    if (hold === undefined) {
      await giveBack(db, places);
      throw tooMany(await secondsUntilRoom(db, allowance, subject));
    }
    places.push({ allowance, subject, hold });
  }
  return places;
}

/** Counts a wrong try. Nobody is told that it was wrong before this is written down. */
async function spend(db: Db, places: readonly Place[]): Promise<void> {
  await Promise.all(places.map(({ allowance, subject, hold }) => countUse(db, allowance, subject, hold)));
}

async function giveBack(db: Db, places: readonly Place[]): Promise<void> {
  const released = places.map(({ allowance, subject, hold }) => releaseUse(db, allowance, subject, hold));
  await Promise.allSettled(released); // a place that cannot be given back runs out by itself
}

/**
 * Runs a check of a password under the limits per address, per client and per both. Only passwords that are wrong
 * count in the end. The gateway always says who the client is; a call that names none comes from inside, as the
 * console's does, and only the tries of such calls can lock it.
 * @param work throws, or answers false, for a wrong password
 */
export async function limitedPasswordTry<T>(
  parts: IdentityDependencies,
  who: { email: string; ip?: string | undefined },
  work: () => Promise<T>,
): Promise<T> {
  const { db } = parts.postgres;
  const { address, client, pair } = subjectsOf(parts, { address: parts.digest(who.email), ip: who.ip });
  const wanted: [Allowance, string][] = [[PASSWORD_TRIES, pair]];
  if (client) {
    wanted.push([PASSWORD_TRIES_PER_CLIENT, client]);
    if (!(await hasUse(db, KNOWN_CLIENT.scope, pair))) wanted.push([PASSWORD_TRIES_PER_ADDRESS, address]);
  }
  const places = await begin(db, wanted);
  const result = await work().catch(async (error) => {
    await (isKind(error, "wrong_credentials") ? spend : giveBack)(db, places);
    throw error;
  });
  if (result === false) {
    await spend(db, places);
  } else {
    await giveBack(db, places);
    await forgetUse(db, PASSWORD_TRIES.scope, pair);
    if (client) await countUse(db, KNOWN_CLIENT, pair);
  }
  return result;
}

/**
 * Runs a check of a code under the limits per client and per address. What is refused here uses up no try of the code,
 * so that a guesser cannot use up the codes that come after. A requester's tries at the code that it asked for itself are
 * counted apart from those at the codes of others: a crowd that guesses keeps nobody from an own code.
 * @param look answers what the live code has to be; undefined where there is none
 * @throws TOO_MANY_REQUESTS
 */
export async function limitedCodeTry<T>(
  parts: IdentityDependencies,
  of: CodeOf,
  ip: string | undefined,
  look: () => Promise<T | undefined>,
): Promise<T | undefined> {
  const { db } = parts.postgres;
  const scope = codeScope(of.purpose);
  const { address, client, pair } = subjectsOf(parts, { address: of.address, ip });
  const isOwn = await hasOwnCode(db, of);
  const isKnown = !client || (await hasUse(db, KNOWN_CLIENT.scope, pair));
  const ofAll: Allowance = isOwn
    ? { ...OWN_CODE_TRIES_PER_ADDRESS, scope: `${scope} own` }
    : { ...CODE_TRIES_PER_ADDRESS, scope };
  const places = await begin(db, [
    [{ ...CODE_TRIES, scope }, pair],
    ...(isKnown ? [] : [[ofAll, address] satisfies [Allowance, string]]),
  ]);
  const expected = await look().catch(async (error) => {
    await giveBack(db, places);
    throw error;
  });
  // Tries that found no code count for the client alone: else anybody could fill up an address beforehand.
  await Promise.all([spend(db, places.slice(0, 1)), (expected ? spend : giveBack)(db, places.slice(1))]);
  return expected;
}

/** After a right code the tries for the address count anew. */
export async function forgetCodeTries(db: Db, { purpose, address }: CodeOf): Promise<void> {
  const scope = codeScope(purpose);
  await forgetUses(db, scope, address);
  await forgetUses(db, `${scope} own`, address);
}

/** Each purpose has its own: who guesses at one keeps nobody from the others. */
const codeScope = (purpose: Purpose) => `code ${purpose}`;

/** What is counted under one address begins with its digest, so that it can be forgotten together with it. */
function subjectsOf(
  { digest }: IdentityDependencies,
  { address, ip }: { address: string; ip?: string | undefined },
) {
  const client = ip === undefined ? undefined : digest(networkOf(ip));
  return { address, client, pair: `${address}.${(client ?? "inside").slice(0, CLIENT_LENGTH)}` };
}
