import { setTimeout as delay } from "node:timers/promises";
import type { Redis } from "ioredis";

/** How often a Redis that did not answer is asked whether it does again. */
const PROBE_INTERVAL_MS = 250;
const READY_POLL_MS = 10;
const TIMED_OUT = "Command timed out";

/** What is shared between processes and may be lost at any time. */
export interface SharedStore {
  /**
   * Runs commands, unless Redis is known to be away: only the first to find it silent waits for its timeout.
   * @returns undefined when there was no answer, whatever the reason: the caller goes on without
   */
  attempt<T>(work: (client: Redis) => Promise<T>): Promise<T | undefined>;
  /** Whether the last thing heard of Redis was good. */
  available(): boolean;
  /** Waits until it is, for so long at most. @returns whether it is */
  ready(timeoutMs: number): Promise<boolean>;
  /** How many attempts got no answer since the start. */
  unanswered(): number;
  close(): Promise<void>;
}

export interface SharedStoreOptions {
  client: Redis;
  logger: { info: (line: string) => void; warn: (line: string) => void };
  onChange?: (available: boolean) => void;
}

/** Stands between Redis and whoever uses it, so that its loss costs one short timeout and never an error. */
export function sharedStore({ client, logger, onChange }: SharedStoreOptions): SharedStore {
  let available = false;
  let closed = false;
  let told = true;
  let unanswered = 0;
  let reason = "the connection was closed";
  let probe: NodeJS.Timeout | undefined;

  const up = () => {
    clearTimeout(probe);
    probe = undefined;
    if (closed || available) return;
    available = true;
    onChange?.(true);
    if (!told) logger.info("Redis answers again.");
    told = true;
  };
  const down = () => {
    available = false;
    if (closed) return;
    onChange?.(false);
    if (told) logger.warn(`Redis does not answer (${reason}): checks and limits go on without it.`);
    told = false;
    ask();
  };
  // While there is no connection the client makes one and says "ready"; a connection that is silent is asked.
  const ask = () => {
    probe ??= setTimeout(async () => {
      const answered = client.status === "ready" && (await client.ping().catch(() => undefined)) === "PONG";
      probe = undefined;
      if (answered) up();
      else if (!closed && !available) ask();
    }, PROBE_INTERVAL_MS).unref();
  };

  client.on("ready", up);
  client.on("error", (error: Error) => {
    reason = error.message || error.name;
    if (!available && told) down();
  });
  client.on("close", () => {
    if (available) down();
  });

  return {
    async attempt(work) {
      if (!available) {
        unanswered++;
        return undefined;
      }
      try {
        return await work(client);
      } catch (error) {
        unanswered++;
        reason = (error as Error).message;
        // Only silence says something of Redis as a whole: it may refuse one command and answer the next.
        if (reason === TIMED_OUT && available) down();
        return undefined;
      }
    },
    available: () => available,
    async ready(timeoutMs) {
      const deadlineMs = performance.now() + timeoutMs;
      while (!available && performance.now() < deadlineMs) await delay(READY_POLL_MS);
      return available;
    },
    unanswered: () => unanswered,
    async close() {
      closed = true;
      clearTimeout(probe);
      if (available) await client.quit().catch(() => undefined);
      client.disconnect();
    },
  };
}
