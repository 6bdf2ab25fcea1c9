import { AsyncLocalStorage } from "node:async_hooks";
import type { StoredDocument } from "./port.ts";

/** As much as one statement takes well. */
const GROUP_MAX = 200;

/** Inserts documents in any order. @returns the ids of those that were there already, which stay as they are */
export type Insert = (documents: readonly StoredDocument[]) => Promise<ReadonlySet<string>>;

interface Waiting {
  documents: readonly StoredDocument[];
  /** Runs something as a part of what the documents came from, as its trace. */
  within: <T>(work: () => T) => T;
  resolve(known: ReadonlySet<string>): void;
  reject(error: unknown): void;
}

/**
 * What comes while an insert is under way goes together in the next one, as databases commit groups: a write that is on
 * the disks of the majority takes its time, and takes no longer for many. Nobody waits who comes alone.
 *
 * When a group fails, each of its parts is tried for itself, so that one document that cannot be written takes none
 * along; unless `isAway`, where that would only ask the same of a server that is not there. A group's insert stands in the
 * trace of the first of it.
 */
export function groupInserts(insert: Insert, isAway: (error: unknown) => boolean): Insert {
  let queue: Waiting[] = [];
  let running = false;

  const apart = async (group: readonly Waiting[]) => {
    for (const { documents, within, resolve, reject } of group) {
      await within(() => insert(documents)).then(resolve, reject);
    }
  };
  const together = async (group: readonly Waiting[]) => {
    try {
      const first = group[0]?.within ?? ((work) => work());
      const known = await first(() => insert(group.flatMap(({ documents }) => documents)));
      for (const { resolve } of group) resolve(known);
    } catch (error) {
      if (group.length > 1 && !isAway(error)) return await apart(group);
      for (const { reject } of group) reject(error);
    }
  };
  const work = async () => {
    running = true;
    while (queue.length > 0) {
      const group = queue.slice(0, sizeOfGroup(queue));
      queue = queue.slice(group.length);
      await together(group);
    }
    running = false;
  };

  return (documents) =>
    new Promise((resolve, reject) => {
      queue.push({ documents, within: AsyncLocalStorage.snapshot(), resolve, reject });
      if (!running) void work();
    });
}

/** How many of those that wait go together; the first one does, however much it brings. */
function sizeOfGroup(queue: readonly Waiting[]): number {
  let size = 0;
  let documents = 0;
  for (const waiting of queue) {
    documents += waiting.documents.length;
    if (size > 0 && documents > GROUP_MAX) break;
    size++;
  }
  return size;
}
