import { setTimeout as delay } from "node:timers/promises";
import type { Redis } from "ioredis";

/** A request that has had no answer of Redis by then goes on without. */
export const ANSWER_TIMEOUT_MS = 100;
/** How often a Redis that did not answer is asked whether it does again. */
const PROBE_INTERVAL_MS = 250;
const READY_POLL_MS = 10;
const SILENCE = Symbol("no answer in time");

/** What is shared between processes and may be lost at any time. */
export interface SharedStore {
  /**
   * Runs a command, unless Redis is known to be away: only the first to find it silent waits for the timeout.
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
  /** 100 unless told otherwise. */
  timeoutMs?: number;
  logger: { info: (line: string) => void; warn: (line: string) => void };
  onChange?: (available: boolean) => void;
}

/** Stands between Redis and whoever uses it, so that its loss costs one short timeout and never an error. */
export function sharedStore(options: SharedStoreOptions): SharedStore {
  const { client, logger, onChange, timeoutMs = ANSWER_TIMEOUT_MS } = options;
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
      const asked = client.status === "ready" ? inTime(client.ping(), timeoutMs) : undefined;
      const answer = await asked?.catch(() => undefined);
      probe = undefined;
      if (answer === "PONG") up();
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
        const answer = await inTime(work(client), timeoutMs);
        if (answer !== SILENCE) return answer;
        reason = "no answer in time";
        if (available) down();
      } catch (error) {
        // It may refuse one command and answer the next: only silence says something of Redis as a whole.
        reason = (error as Error).message;
      }
      unanswered++;
      return undefined;
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
      if (available) await inTime(client.quit(), timeoutMs).catch(() => undefined);
      client.disconnect();
    },
  };
}

async function inTime<T>(work: Promise<T>, timeoutMs: number): Promise<T | typeof SILENCE> {
  let timer: NodeJS.Timeout | undefined;
  const silence = new Promise<typeof SILENCE>((resolve) => {
    // A process that was busy for so long may have the answer in its socket, which is read after the timers.
    timer = setTimeout(() => setImmediate(() => resolve(SILENCE)), timeoutMs);
  });
  return await Promise.race([work, silence]).finally(() => clearTimeout(timer));
}
