import { inBatches } from "../../../lib/messaging/runner.ts";
import type { Postgres } from "../../../mixins/postgres/postgres.mixin.ts";
import { storedWords } from "../domain/search-words.ts";
import { lockProductsWithOldWords, saveWords } from "../store/products.repository.ts";

/** Texts of 2,000 characters without spaces are 2,000 words each: a batch stays far below the time limit of a statement. */
const BATCH = 20;

/** Makes the words of products anew that older rules made, in every replica and in small transactions. */
export async function reindexProducts(
  { postgres }: { postgres: Postgres },
  stopping: AbortSignal,
): Promise<void> {
  await inBatches(
    BATCH,
    () =>
      postgres.transact(async (trx) => {
        const old = await lockProductsWithOldWords(trx, BATCH);
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
