import { waitAtMost } from "../../../lib/timeout.ts";

/** The interval between queries for banks with due work while other banks are still busy. */
const QUERY_INTERVAL_MS = 1_000;

export interface BankPass<B extends { id: string }> {
  /** The banks with due work. */
  due: () => Promise<readonly B[]>;
  /** Does the due work of one bank. Must end soon after `stopping` is aborted. */
  work: (bank: B) => Promise<void>;
  failed: (bankId: string, error: unknown) => void;
  stopping?: AbortSignal | undefined;
}

/**
 * Processes the due work of all banks concurrently. While a bank is busy, the pass continues to look for due work of the
 * others, so that a slow bank delays only itself.
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
      // A bank that is busy now may end before the answer, which then shows it as it was before.
      const known = new Set(busy.keys());
      for (const bank of await pass.due()) if (!known.has(bank.id)) begin(bank);
      await waitAtMost(QUERY_INTERVAL_MS, Promise.all(busy.values()));
    } while (busy.size > 0 && !pass.stopping?.aborted);
  } finally {
    await Promise.all(busy.values());
  }
}
