import { inBatches } from "../../../lib/messaging/runner.ts";
import type { Postgres } from "../../../mixins/postgres/postgres.mixin.ts";
import { storedWords } from "../domain/search-words.ts";
import { lockProductsWithOutdatedWords, saveWords } from "../store/products.repository.ts";

/** A text of 2,000 characters without spaces gives 2,000 words. This size keeps a batch far below the statement timeout. */
const BATCH = 20;

/** Rebuilds outdated search words of products, in small transactions. Safe to run in several replicas at once. */
export async function reindexProducts(
  { postgres }: { postgres: Postgres },
  stopping: AbortSignal,
): Promise<void> {
  await inBatches(
    BATCH,
    () =>
      postgres.transact(async (trx) => {
        const old = await lockProductsWithOutdatedWords(trx, BATCH);
        await saveWords(
          trx,
          old.map(({ id, title, brand, description }) => ({
            id,
            words: storedWords(title, brand, description),
          })),
        );
        return old.length;
      }),
    stopping,
  );
}
