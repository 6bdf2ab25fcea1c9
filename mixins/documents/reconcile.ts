import { setTimeout as delay } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { typeOf } from "../../contracts/errors.ts";
import type { Documents, StoredDocument } from "./documents.mixin.ts";

const BATCH = 500;
/** A rebuild survives an outage of this length. */
const OUTAGE_MAX_MS = 60_000;
const RETRY_MS = 1_000;

/** The data in PostgreSQL from which the documents of a collection are made. */
export interface Source<D> {
  /** The correct contents of these documents. A document without data in PostgreSQL is missing in the result. */
  of(documents: readonly D[]): Promise<D[]>;
  /** The correct contents of all documents, in batches. */
  all(): AsyncIterable<D[]>;
}

type Collection<D extends StoredDocument> = Pick<Documents<D>, "batches" | "insert" | "put" | "remove">;

/**
 * Makes a collection equal to its source in PostgreSQL, while messages update it and clients read it. First each existing
 * document is compared and corrected, or removed if PostgreSQL has no data for it. Then the missing documents are added.
 * It can be aborted and started again at any time.
 *
 * A message is sent after its change was committed in PostgreSQL, so a document that it writes at the same time always has
 * data there. Data that is deleted between reading and writing is found by a second check after each write.
 * @param progress receives the number of processed documents: first of the existing ones, then of all
 * @throws SERVICE_UNAVAILABLE when the store is unavailable for longer than a minute
 * @returns the number of documents, without those that were added at the same time
 */
export async function reconcile<D extends StoredDocument>(
  documents: Collection<D>,
  source: Source<D>,
  progress: (documents: number) => void = () => undefined,
): Promise<number> {
  await retryAfterOutage(progress, (onProgress) => correctExisting(documents, source, onProgress));
  return await retryAfterOutage(progress, (onProgress) => addMissing(documents, source, onProgress));
}

/** Repeats the work after an outage. The work starts from the beginning and finds its earlier results. */
async function retryAfterOutage<T>(
  progress: (documents: number) => void,
  work: (progress: (documents: number) => void) => Promise<T>,
): Promise<T> {
  let progressedMs = performance.now();
  const onProgress = (documents: number) => {
    progressedMs = performance.now();
    progress(documents);
  };
  for (;;) {
    try {
      return await work(onProgress);
    } catch (error) {
      const outageMs = performance.now() - progressedMs;
      if (typeOf(error) !== "SERVICE_UNAVAILABLE" || outageMs > OUTAGE_MAX_MS) throw error;
    }
    await delay(RETRY_MS);
  }
}

/** Corrects or removes the existing documents. */
async function correctExisting<D extends StoredDocument>(
  documents: Collection<D>,
  source: Source<D>,
  progress: (documents: number) => void,
): Promise<void> {
  let processed = 0;
  for await (const batch of documents.batches(BATCH)) {
    const correct = new Map((await source.of(batch)).map((document) => [document._id, document]));
    const unknown = batch.filter(({ _id }) => !correct.has(_id));
    if (unknown.length > 0) await removeAll(documents, unknown);
    const changed = batch
      .map((stored) => ({ stored, expected: correct.get(stored._id) }))
      .flatMap(({ stored, expected }) =>
        expected && !isDeepStrictEqual(plain(stored), plain(expected)) ? [expected] : [],
      );
    for (const document of changed) await documents.put(document);
    await removeDeleted(documents, source, changed);
    processed += batch.length;
    progress(processed);
  }
}

async function addMissing<D extends StoredDocument>(
  documents: Collection<D>,
  source: Source<D>,
  progress: (documents: number) => void,
): Promise<number> {
  let all = 0;
  for await (const batch of source.all()) {
    await documents.insert(...batch);
    await removeDeleted(documents, source, batch);
    all += batch.length;
    progress(all);
  }
  return all;
}

/** Removes the documents whose data was deleted in PostgreSQL after it had been read. */
async function removeDeleted<D extends StoredDocument>(
  documents: Pick<Documents<D>, "remove">,
  source: Source<D>,
  written: readonly D[],
): Promise<void> {
  if (written.length === 0) return;
  const known = idsOf(await source.of(written));
  const unknown = written.filter(({ _id }) => !known.has(_id));
  if (unknown.length > 0) await removeAll(documents, unknown);
}

/** The document as JSON: without undefined fields and without the prototypes of the stores. */
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

/** All rows of a query by ascending ids, in batches. Only one batch is in memory at a time. */
export async function* batchesById<R extends { id: string }>(
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
