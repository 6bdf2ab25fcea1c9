import { setTimeout as delay } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { typeOf } from "../../contracts/errors.ts";
import type { Documents, StoredDocument } from "./documents.mixin.ts";

const BATCH = 500;
/** An outage that is over within a minute does not end a rebuild. */
const PATIENCE_MS = 60_000;
const RETRY_MS = 1_000;

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
 * @param progress is told how many documents were looked at, first of those that are there, then of all
 * @throws SERVICE_UNAVAILABLE when the store stays away for longer than a minute
 * @returns how many documents there are now, those not counted that came meanwhile
 */
export async function reconcile<D extends StoredDocument>(
  documents: Collection<D>,
  truth: Truth<D>,
  progress: (documents: number) => void = () => undefined,
): Promise<number> {
  await patiently(progress, (went) => correct(documents, truth, went));
  return await patiently(progress, (went) => complete(documents, truth, went));
}

/** Each half may be begun again at any time: what it has done it finds done. */
async function patiently<T>(
  progress: (documents: number) => void,
  work: (progress: (documents: number) => void) => Promise<T>,
): Promise<T> {
  let wentMs = performance.now();
  const went = (documents: number) => {
    wentMs = performance.now();
    progress(documents);
  };
  for (;;) {
    try {
      return await work(went);
    } catch (error) {
      const stuckMs = performance.now() - wentMs;
      if (typeOf(error) !== "SERVICE_UNAVAILABLE" || stuckMs > PATIENCE_MS) throw error;
    }
    await delay(RETRY_MS);
  }
}

/** What is there becomes as PostgreSQL has it, or goes. */
async function correct<D extends StoredDocument>(
  documents: Collection<D>,
  truth: Truth<D>,
  progress: (documents: number) => void,
): Promise<void> {
  let seen = 0;
  for await (const batch of documents.batches(BATCH)) {
    const right = new Map((await truth.of(batch)).map((document) => [document._id, document]));
    const unknown = batch.filter(({ _id }) => !right.has(_id));
    if (unknown.length > 0) await removeAll(documents, unknown);
    const wrong = batch
      .map((document) => ({ is: document, should: right.get(document._id) }))
      .flatMap(({ is, should }) => (should && !isDeepStrictEqual(plain(is), plain(should)) ? [should] : []));
    for (const document of wrong) await documents.put(document);
    await removeUnknown(documents, truth, wrong);
    seen += batch.length;
    progress(seen);
  }
}

/** What is missing comes. */
async function complete<D extends StoredDocument>(
  documents: Collection<D>,
  truth: Truth<D>,
  progress: (documents: number) => void,
): Promise<number> {
  let all = 0;
  for await (const batch of truth.all()) {
    await documents.insert(...batch);
    await removeUnknown(documents, truth, batch);
    all += batch.length;
    progress(all);
  }
  return all;
}

/** Those whose rows were deleted after they had been read. */
async function removeUnknown<D extends StoredDocument>(
  documents: Pick<Documents<D>, "remove">,
  truth: Truth<D>,
  written: readonly D[],
): Promise<void> {
  if (written.length === 0) return;
  const known = idsOf(await truth.of(written));
  const unknown = written.filter(({ _id }) => !known.has(_id));
  if (unknown.length > 0) await removeAll(documents, unknown);
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
