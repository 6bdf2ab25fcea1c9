import { AsyncLocalStorage } from "node:async_hooks";
import type { StoredDocument } from "./port.ts";

/** The maximum number of documents in one insert. */
const GROUP_MAX = 200;

/** Inserts documents in any order. @returns the ids that exist already; their documents are not changed */
export type Insert<D = StoredDocument> = (documents: readonly D[]) => Promise<ReadonlySet<string>>;

interface PendingInsert<D> {
  documents: readonly D[];
  /** Runs a function in the async context of the caller, for example in its trace. */
  inContext: <T>(work: () => T) => T;
  resolve(known: ReadonlySet<string>): void;
  reject(error: unknown): void;
}

/**
 * Group commit: all inserts that arrive while one runs are combined in the next one. A write to the disks of the majority
 * is slow, and does not take longer for many documents. A single insert starts at once.
 *
 * When a group fails, each insert is repeated separately, so that a document that cannot be stored fails no other one. If
 * `isUnavailable`, all inserts of the group fail: a repetition would meet the same unavailable server. The insert of a
 * group runs in the trace of its first member.
 */
export function groupInserts<D extends StoredDocument = StoredDocument>(
  insert: Insert<D>,
  isUnavailable: (error: unknown) => boolean,
): Insert<D> {
  let queue: PendingInsert<D>[] = [];
  let running = false;

  const insertSeparately = async (group: readonly PendingInsert<D>[]) => {
    for (const { documents, inContext, resolve, reject } of group) {
      await inContext(() => insert(documents)).then(resolve, reject);
    }
  };
  const insertGroup = async (group: readonly PendingInsert<D>[]) => {
    try {
      const inFirstContext = group[0]?.inContext ?? ((work) => work());
      const known = await inFirstContext(() => insert(group.flatMap(({ documents }) => documents)));
      for (const { resolve } of group) resolve(known);
    } catch (error) {
      if (group.length > 1 && !isUnavailable(error)) return await insertSeparately(group);
      for (const { reject } of group) reject(error);
    }
  };
  const work = async () => {
    running = true;
    while (queue.length > 0) {
      const group = queue.slice(0, sizeOfGroup(queue));
      queue = queue.slice(group.length);
      await insertGroup(group);
    }
    running = false;
  };

  return (documents) =>
    new Promise((resolve, reject) => {
      queue.push({ documents, inContext: AsyncLocalStorage.snapshot(), resolve, reject });
      if (!running) void work();
    });
}

/** The number of pending inserts in the next group: at least one, of any size. */
function sizeOfGroup(queue: readonly PendingInsert<unknown>[]): number {
  let size = 0;
  let documents = 0;
  for (const pending of queue) {
    documents += pending.documents.length;
    if (size > 0 && documents > GROUP_MAX) break;
    size++;
  }
  return size;
}
