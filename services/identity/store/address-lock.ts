import { setTimeout as delay } from "node:timers/promises";
import { fail } from "../../../contracts/errors.ts";
import type { IdentityDependencies } from "../dependencies.ts";
import { type Allowance, countUse, forgetUse, TURN_SCOPE } from "./limits.repository.ts";

/** One at a time. Longer than any turn takes: a process that dies in one keeps the others out for so long. */
const TURN: Allowance = { scope: TURN_SCOPE, max: 1, windowSeconds: 30 };
/** Clients are answered within 1.8 s, and the work has still to be done. */
const MAX_WAIT_MS = 1_000;
const POLL_MS = 25;

/**
 * Runs what makes, proves or replaces an account for an address while nobody else does: no database can exclude what
 * happens at the provider between two of the steps, and a password must not come in between a code and what the code
 * confirms. Who waits is told nothing: also addresses that nobody has are worked on in turns. Held by a row and not by
 * a lock, which would keep a connection for as long as the provider takes. @throws OVERLOADED after a second
 */
export function withAddressLock<T>(
  parts: IdentityDependencies,
  email: string,
  work: () => Promise<T>,
): Promise<T> {
  return inTurnOf(parts, parts.digest(email), work);
}

/** The same for an address of which the digest is all that is left. @throws OVERLOADED after a second */
export async function inTurnOf<T>(
  { postgres }: IdentityDependencies,
  address: string,
  work: () => Promise<T>,
): Promise<T> {
  const { db } = postgres;
  const deadline = performance.now() + MAX_WAIT_MS;
  while ((await countUse(db, TURN, address)).used > TURN.max) {
    if (performance.now() > deadline) throw fail("OVERLOADED");
    await delay(POLL_MS);
  }
  try {
    return await work();
  } finally {
    await forgetUse(db, TURN.scope, address).catch(() => undefined); // it runs out by itself
  }
}
