import { Cachers } from "moleculer";

const ENTRIES_MAX = 10_000;
/** The limit for all entries of one node, as JSON; in memory they take two to three times as much. */
const BYTES_MAX = 32 * 2 ** 20;

/** lru-cache, as far as moleculer's cacher and this file use it. */
interface Lru {
  readonly calculatedSize: number;
}
type LruClass = new (options: {
  max: number;
  maxSize: number;
  sizeCalculation: (value: unknown, key: string) => number;
}) => Lru;

/**
 * Moleculer's cacher in memory, bounded by bytes too: by their number alone, ten thousand checks of fifty lines, which
 * are kept for a day after their confirmation, took 1.7 GB. What was not used for the longest time goes first.
 */
export class BoundedCacher extends Cachers.MemoryLRU {
  constructor(bytesMax = BYTES_MAX) {
    super({ max: ENTRIES_MAX });
    const own = this as unknown as { cache: Lru };
    const LruCache = own.cache.constructor as LruClass;
    own.cache = new LruCache({
      max: ENTRIES_MAX,
      maxSize: bytesMax,
      sizeCalculation: (value, key) => key.length + (JSON.stringify(value)?.length ?? 0) + 1,
    });
  }

  /** How many bytes the entries have as JSON. */
  get bytes(): number {
    return (this as unknown as { cache: Lru }).cache.calculatedSize;
  }
}
