/**
 * Network errors, no primary, an election, a server that stops, a write that no majority confirmed in time, and a password
 * that is being changed. The next attempt may succeed. Repeating is safe, since all writes here are idempotent.
 */
const UNAVAILABLE_CODES = new Set([
  6, 7, 13, 18, 50, 64, 89, 91, 100, 133, 189, 262, 9001, 10_107, 11_600, 11_602, 13_435, 13_436,
]);
const UNAVAILABLE_NAMES = new Set([
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
/** Errors of a socket. The driver passes some on unchanged, for example after a write to a closed socket. */
const SOCKET_CODE =
  /^(?:EPIPE|ECONN[A-Z]+|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|ERR_STREAM_[A-Z_]+)$/;
const UNAVAILABLE_LABELS = ["RetryableWriteError", "SystemOverloadedError"];

const DUPLICATE_KEY = 11_000;

interface MongoError {
  name?: string;
  code?: unknown;
  writeErrors?: unknown;
  result?: { getWriteConcernError?(): unknown };
  hasErrorLabel?(label: string): boolean;
}

/** Whether the server was unavailable or too slow. The operation itself is not the cause. */
export function isUnavailable(error: unknown): boolean {
  const known = (error ?? {}) as MongoError;
  if (UNAVAILABLE_NAMES.has(known.name ?? "") || UNAVAILABLE_CODES.has(known.code as number)) return true;
  if (typeof known.code === "string" && SOCKET_CODE.test(known.code)) return true;
  // The batch failed before the server processed a document. Only its message has the cause.
  if (known.name === "MongoBulkWriteError" && known.code === undefined) return true;
  return isUnconfirmed(known) || UNAVAILABLE_LABELS.some((label) => known.hasErrorLabel?.(label) === true);
}

/**
 * Whether existing ids are the only errors. A server waits for the majority also after a duplicate. If the majority did
 * not confirm, the existing document may still be rolled back, and the result is false.
 */
export function isDuplicate(error: unknown): boolean {
  const known = (error ?? {}) as MongoError;
  if (known.code !== DUPLICATE_KEY || isUnconfirmed(known)) return false;
  const each = [known.writeErrors ?? []].flat() as MongoError[];
  return each.every(({ code }) => code === DUPLICATE_KEY);
}

/** The indexes of those documents of a batch whose ids existed. */
export function duplicatesOf(error: unknown): number[] {
  const each = [(error as MongoError).writeErrors ?? []].flat() as { index?: number }[];
  return each.map(({ index = 0 }) => index);
}

function isUnconfirmed({ result }: MongoError): boolean {
  return Boolean(result?.getWriteConcernError?.());
}
