import { setTimeout as delay } from "node:timers/promises";
import { fail } from "../../../contracts/errors.ts";
import type { IdentityDependencies } from "../dependencies.ts";
import { ADDRESS_LOCK_SCOPE, type Allowance, countUse, resetAllowance } from "../store/limits.repository.ts";

/** One holder at a time. Longer than any work takes: the lock of a crashed process expires after this. */
const ADDRESS_LOCK: Allowance = { scope: ADDRESS_LOCK_SCOPE, max: 1, windowSeconds: 30 };
/** The part of the time limit of a request that is left for the work after the wait. */
const WORK_MS = 800;
const POLL_MS = 25;

/**
 * Runs work that creates, confirms or replaces an account for an address, one at a time per address. The steps at the
 * provider are outside of the database transaction, and a concurrent request must not change the password between the
 * check of a code and the confirmation. Unknown addresses are locked too, so that the waiting time reveals nothing. The
 * lock is a row, because a database lock would occupy a connection during the calls to the provider.
 * @throws OVERLOADED when the wait leaves too little time for the work
 */
export function withAddressLock<T>(
  deps: IdentityDependencies,
  email: string,
  work: () => Promise<T>,
): Promise<T> {
  return withAddressDigestLock(deps, deps.digest(email), work);
}

/** The same for an address of which only the digest is known. @throws OVERLOADED as `withAddressLock` */
export async function withAddressDigestLock<T>(
  { postgres, requestTimeoutMs }: IdentityDependencies,
  address: string,
  work: () => Promise<T>,
): Promise<T> {
  const { db } = postgres;
  const deadline = performance.now() + requestTimeoutMs - WORK_MS;
  while ((await countUse(db, ADDRESS_LOCK, address)).used > ADDRESS_LOCK.max) {
    if (performance.now() > deadline) throw fail("OVERLOADED");
    await delay(POLL_MS);
  }
  try {
    return await work();
  } finally {
    await resetAllowance(db, ADDRESS_LOCK.scope, address).catch(() => undefined); // it expires
  }
}
