import { isDeepStrictEqual } from "node:util";
import type { Documents, StoredDocument } from "./documents.mixin.ts";

const BATCH = 500;

/** What the documents of a collection are made from. */
export interface Truth<D> {
  /** Those of these documents that PostgreSQL knows, as they should be. */
  of(documents: readonly D[]): Promise<D[]>;
  /** Everything that has a document, in batches. */
  all(): AsyncIterable<D[]>;
}

type Collection<D extends StoredDocument> = Pick<Documents<D>, "batches" | "insert" | "put" | "remove">;

/**
 * Makes a collection what PostgreSQL says while messages go on writing to it and people go on reading it: nothing is
 * emptied. First what is there is compared, put right, or removed when PostgreSQL does not know it; then what is
 * missing is added. It may be broken off anywhere and begun again.
 *
 * What a message writes meanwhile was committed in PostgreSQL before, so it is never taken for something unknown. And
 * what was deleted in PostgreSQL between reading and writing is looked for once more after each write.
 * @param progress is told how many documents were looked at
 * @returns how many documents there are now, those not counted that came meanwhile
 */
export async function reconcile<D extends StoredDocument>(
  documents: Collection<D>,
  truth: Truth<D>,
  progress: (documents: number) => void = () => undefined,
): Promise<number> {
  const removeUnknown = async (written: readonly D[]) => {
    if (written.length === 0) return;
    const known = idsOf(await truth.of(written));
    const unknown = written.filter(({ _id }) => !known.has(_id));
    if (unknown.length > 0) await removeAll(documents, unknown);
  };
  let seen = 0;
  for await (const batch of documents.batches(BATCH)) {
    const right = new Map((await truth.of(batch)).map((document) => [document._id, document]));
    const unknown = batch.filter(({ _id }) => !right.has(_id));
    if (unknown.length > 0) await removeAll(documents, unknown);
    const wrong = batch
      .map((document) => ({ is: document, should: right.get(document._id) }))
      .flatMap(({ is, should }) => (should && !isDeepStrictEqual(plain(is), plain(should)) ? [should] : []));
    for (const document of wrong) await documents.put(document);
    await removeUnknown(wrong);
    seen += batch.length;
    progress(seen);
  }
  let all = 0;
  for await (const batch of truth.all()) {
    await documents.insert(...batch);
    await removeUnknown(batch);
    all += batch.length;
    progress(seen + all);
  }
  return all;
}

/** As JSON has it: without what is undefined, and without the prototypes that stores give their documents. */
function plain(document: object): unknown {
  return JSON.parse(JSON.stringify(document));
}

function idsOf(documents: readonly StoredDocument[]): Set<string> {
  return new Set(documents.map(({ _id }) => _id));
}

async function removeAll<D extends StoredDocument>(
  documents: Pick<Documents<D>, "remove">,
  what: readonly D[],
): Promise<void> {
  const ids = what.map(({ _id }) => _id);
  await documents.remove({ _id: { $in: ids } } as Parameters<Documents<D>["remove"]>[0]);
}

/** Everything that a query by ascending ids finds, in batches: no more than one of them is in memory. */
export async function* inBatches<R extends { id: string }>(
  batchAfter: (id: string, limit: number) => Promise<R[]>,
): AsyncIterable<R[]> {
  let after = "00000000-0000-0000-0000-000000000000";
  for (;;) {
    const batch = await batchAfter(after, BATCH);
    const last = batch.at(-1);
    if (!last) return;
    yield batch;
    after = last.id;
  }
}
