import { inBatches } from "../../mixins/messages/runner.ts";
import type { Postgres } from "../../mixins/postgres/postgres.mixin.ts";
import { lockProductsWithOldWords, saveWords } from "./products.repository.ts";
import { storedWords } from "./search-words.ts";

/** A batch takes some tens of milliseconds; its products wait for no longer. */
const BATCH = 100;

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
