import { fail } from "../../../contracts/errors.ts";
import { circuitBreakers } from "../../../lib/circuit-breaker.ts";
import type { Clock } from "../../../lib/clock.ts";
import type { BankError } from "../../../providers/banks/index.ts";
import type { CheckoutGate } from "../dependencies.ts";

/** The most confirmations at one bank at the same time, so that a bank that hangs does not block the others. */
const CONCURRENT_MAX = 50;
const BREAKER = { failuresToOpen: 5, openMs: 3_000 };

/**
 * Isolates the banks from each other. It limits the concurrent confirmations of each bank. After repeated failures it
 * refuses the bank's confirmations for a while, before they reserve stock for orders that could not be paid.
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
      if (count >= CONCURRENT_MAX) refuse("The bank answers too slowly. Try again.");
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
    async call<T>(bankId: string, request: () => Promise<T>): Promise<T> {
      try {
        const answer = await request();
        breakers.worked(bankId);
        return answer;
      } catch (error) {
        if ((error as Partial<BankError>).isAnswered === false) breakers.failed(bankId);
        else breakers.worked(bankId);
        throw error;
      }
    },
    refusedBanks: () => breakers.open(),
  };
}
