import { waitAtMost } from "../../../lib/timeout.ts";

/** While a bank lets us wait, what has become due at others is looked for so often. */
const LOOK_INTERVAL_MS = 1_000;

export interface BankPass<B extends { id: string }> {
  /** The banks at which something is due now. */
  due: () => Promise<readonly B[]>;
  /** Does what is due at one bank. It ends soon after `stopping` is aborted. */
  work: (bank: B) => Promise<void>;
  failed: (bankId: string, error: unknown) => void;
  stopping?: AbortSignal | undefined;
}

/**
 * One pass over all banks. Banks are worked at beside each other, and as long as one of them lets us wait the pass goes
 * on looking for what is due at the others: a slow bank holds up none but its own.
 */
export async function bankPass<B extends { id: string }>(pass: BankPass<B>): Promise<void> {
  const busy = new Map<string, Promise<void>>();
  const begin = (bank: B) => {
    const work = pass
      .work(bank)
      .catch((error) => pass.failed(bank.id, error))
      .finally(() => busy.delete(bank.id));
    busy.set(bank.id, work);
  };
  try {
    do {
      for (const bank of await pass.due()) if (!busy.has(bank.id)) begin(bank);
      await waitAtMost(LOOK_INTERVAL_MS, Promise.all(busy.values()));
    } while (busy.size > 0 && !pass.stopping?.aborted);
  } finally {
    await Promise.all(busy.values());
  }
}
