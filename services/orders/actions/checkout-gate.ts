import { fail } from "../../../contracts/errors.ts";
import { circuitBreakers } from "../../../lib/circuit-breaker.ts";
import type { Clock } from "../../../lib/clock.ts";
import type { BankError } from "../../../providers/banks/index.ts";
import type { CheckoutGate } from "../dependencies.ts";

/** Checkouts that are being opened at one bank at once. A bank that hangs holds no more of the places of all. */
const AT_ONCE = 50;
const BREAKER = { failuresToOpen: 5, openMs: 3_000 };

/**
 * Keeps one bank's failures from the customers of the others: a bank holds its own part of the places at most, and one
 * that does not answer is not asked for a while, and no stock is held for orders that could not be paid.
 */
export function checkoutGate(clock: Clock): CheckoutGate {
  const breakers = circuitBreakers(clock, BREAKER);
  const running = new Map<string, number>();

  function refuse(detail: string): never {
    throw fail("BANK_UNAVAILABLE", detail, { retryAfterSeconds: BREAKER.openMs / 1_000 });
  }

  return {
    async run<T>(bankId: string, work: () => Promise<T>): Promise<T> {
      const count = running.get(bankId) ?? 0;
      if (count >= AT_ONCE) refuse("The bank answers too slowly. Try again.");
      if (!breakers.admits(bankId)) refuse("The bank does not answer now. Try again.");
      running.set(bankId, count + 1);
      try {
        return await work();
      } finally {
        const left = (running.get(bankId) ?? 1) - 1;
        if (left > 0) running.set(bankId, left);
        else running.delete(bankId);
      }
    },
    async ask<T>(bankId: string, call: () => Promise<T>): Promise<T> {
      try {
        const answer = await call();
        breakers.worked(bankId);
        return answer;
      } catch (error) {
        if ((error as Partial<BankError>).isAnswered === false) breakers.failed(bankId);
        else breakers.worked(bankId);
        throw error;
      }
    },
    closed: () => breakers.open(),
  };
}
