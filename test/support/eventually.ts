import { setTimeout as delay } from "node:timers/promises";

const POLL_MS = 20;
/** Not how long a thing should take, but how long a busy machine may take for it: it is spent only by a failing test. */
const TIMEOUT_MS = Number(process.env.TEST_PATIENCE_MS ?? 150_000);

/**
 * Waits for a condition: calls `check` again and again until it no longer throws, and returns what it returned.
 * @throws what the last call threw, when the time is up
 */
export async function eventually<T>(
  check: () => T | Promise<T>,
  { timeoutMs = TIMEOUT_MS }: { timeoutMs?: number } = {},
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() > deadline) throw error;
    }
    await delay(POLL_MS);
  }
}
