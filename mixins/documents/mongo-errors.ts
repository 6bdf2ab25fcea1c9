/**
 * Network trouble, no primary, an election, a server that stops, a write that no majority confirmed in time, and a
 * password that is being changed. The next try may succeed, and a repeat does no harm: all writes here are idempotent.
 */
const AWAY = new Set([
  6, 7, 13, 18, 50, 64, 89, 91, 100, 133, 189, 262, 9001, 10_107, 11_600, 11_602, 13_435, 13_436,
]);
const AWAY_NAMES =
  /^Mongo(?:ServerSelection|Network|NetworkTimeout|PoolCleared|PoolClosed|WaitQueueTimeout|TopologyClosed|NotConnected|ClientClosed|ConnectionClosed|WriteConcern|OperationTimeout|ServerClosed)Error$|^(?:PoolClosedError|WaitQueueTimeoutError|StoreTimeout)$/;
const AWAY_LABELS = ["RetryableWriteError", "ResetPool", "SystemOverloadedError"];

const DUPLICATE_KEY = 11_000;

interface MongoError {
  name?: string;
  code?: unknown;
  writeErrors?: unknown;
  hasErrorLabel?: (label: string) => boolean;
}

/** Whether the server was away or too slow, and nothing was wrong with what was asked. */
export function isAway(error: unknown): boolean {
  const { name = "", code, hasErrorLabel } = (error ?? {}) as MongoError;
  if (AWAY_NAMES.test(name) || AWAY.has(code as number)) return true;
  return AWAY_LABELS.some((label) => hasErrorLabel?.call(error, label) === true);
}

/** Whether ids that were there already are all that was wrong. */
export function isDuplicate(error: unknown): boolean {
  const { code, writeErrors } = (error ?? {}) as MongoError;
  if (code !== DUPLICATE_KEY) return false;
  const each = [writeErrors ?? []].flat() as MongoError[];
  return each.every((one) => one.code === DUPLICATE_KEY);
}
