import { setTimeout as delay } from "node:timers/promises";

const POLL_MS = 20;

/**
 * Waits for a condition: calls `check` again and again until it no longer throws, and returns what it returned.
 * @throws what the last call threw, when the time is up
 */
export async function eventually<T>(
  check: () => T | Promise<T>,
  { timeoutMs = 10_000 }: { timeoutMs?: number } = {},
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
