import { Cachers } from "moleculer";
import { lruCacheOf, replaceLruCache } from "../transporter/moleculer-internals.ts";

const ENTRIES_MAX = 10_000;
/** The limit for all entries of one node, as JSON; in memory they take two to three times as much. */
const BYTES_MAX = 32 * 2 ** 20;

/**
 * Moleculer's in-memory cacher with a limit in bytes. With a limit of entries only, ten thousand checks of fifty lines,
 * which are cached for a day after their confirmation, took 1.7 GB. The least recently used entry is removed first.
 */
export class BoundedCacher extends Cachers.MemoryLRU {
  constructor(bytesMax = BYTES_MAX) {
    super({ max: ENTRIES_MAX });
    replaceLruCache(this, {
      max: ENTRIES_MAX,
      maxSize: bytesMax,
      sizeCalculation: (value, key) => key.length + (JSON.stringify(value)?.length ?? 0) + 1,
    });
  }

  /** The size of all entries as JSON. */
  get bytes(): number {
    return lruCacheOf(this).calculatedSize;
  }
}
