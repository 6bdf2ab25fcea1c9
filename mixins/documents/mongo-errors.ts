/**
 * Network trouble, no primary, an election, a server that stops, a write that no majority confirmed in time, and a
 * password that is being changed. The next try may succeed, and a repeat does no harm: all writes here are idempotent.
 */
const AWAY_CODES = new Set([
  6, 7, 13, 18, 50, 64, 89, 91, 100, 133, 189, 262, 9001, 10_107, 11_600, 11_602, 13_435, 13_436,
]);
const AWAY_NAMES = new Set([
  "MongoServerSelectionError",
  "MongoNetworkError",
  "MongoNetworkTimeoutError",
  "MongoPoolClearedError",
  "MongoPoolClosedError",
  "PoolClearedOnNetworkError",
  "MongoWaitQueueTimeoutError",
  "MongoTopologyClosedError",
  "MongoNotConnectedError",
  "MongoClientClosedError",
  "MongoServerClosedError",
  "MongoOperationTimeoutError",
  "MongoWriteConcernError",
  "TimeoutError",
]);
/** A socket's own errors: the driver lets some through as they are, as when it writes to one that just ended. */
const SOCKET =
  /^(?:EPIPE|ECONN[A-Z]+|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|ERR_STREAM_[A-Z_]+)$/;
const AWAY_LABELS = ["RetryableWriteError", "SystemOverloadedError"];

const DUPLICATE_KEY = 11_000;

interface MongoError {
  name?: string;
  code?: unknown;
  writeErrors?: unknown;
  result?: { getWriteConcernError?(): unknown };
  hasErrorLabel?(label: string): boolean;
}

/** Whether the server was away or too slow, and nothing was wrong with what was asked. */
export function isAway(error: unknown): boolean {
  const known = (error ?? {}) as MongoError;
  if (AWAY_NAMES.has(known.name ?? "") || AWAY_CODES.has(known.code as number)) return true;
  if (typeof known.code === "string" && SOCKET.test(known.code)) return true;
  // What broke a batch before any document was judged stands in its message alone.
  if (known.name === "MongoBulkWriteError" && known.code === undefined) return true;
  return isUnconfirmed(known) || AWAY_LABELS.some((label) => known.hasErrorLabel?.(label) === true);
}

/**
 * Whether ids that were there already are all that was wrong. A server waits for the majority after a duplicate too;
 * when that did not come, the document that is there may still be rolled back.
 */
export function isDuplicate(error: unknown): boolean {
  const known = (error ?? {}) as MongoError;
  if (known.code !== DUPLICATE_KEY || isUnconfirmed(known)) return false;
  const each = [known.writeErrors ?? []].flat() as MongoError[];
  return each.every(({ code }) => code === DUPLICATE_KEY);
}

/** Which of the documents of a batch were there already, by their places in it. */
export function duplicatesOf(error: unknown): number[] {
  const each = [(error as MongoError).writeErrors ?? []].flat() as { index?: number }[];
  return each.map(({ index = 0 }) => index);
}

function isUnconfirmed({ result }: MongoError): boolean {
  return Boolean(result?.getWriteConcernError?.());
}
