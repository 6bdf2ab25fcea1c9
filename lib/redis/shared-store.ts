import { setTimeout as delay } from "node:timers/promises";
import type { Redis } from "ioredis";
import type { Logger } from "../logger.ts";
import { TimeoutError, withTimeout } from "../timeout.ts";

/** After this time a request continues without an answer of Redis. */
export const ANSWER_TIMEOUT_MS = 100;
/** The interval at which a Redis that did not answer is probed. */
const PROBE_INTERVAL_MS = 250;
const READY_POLL_MS = 10;

/** A store that processes share and that may become unavailable at any time. */
export interface SharedStore {
  /**
   * Runs a command, unless Redis is known to be unavailable: only the first command that gets no answer waits for the
   * timeout.
   * @returns undefined when there was no answer, for any reason: the caller continues without it
   */
  attempt<T>(work: (client: Redis) => Promise<T>): Promise<T | undefined>;
  /** Whether Redis answered last time. */
  available(): boolean;
  /** Waits until it is available, for `timeoutMs` at most. @returns whether it is */
  ready(timeoutMs: number): Promise<boolean>;
  /** The number of attempts without an answer since the start. */
  unanswered(): number;
  close(): Promise<void>;
}

export interface SharedStoreOptions {
  client: Redis;
  /** Time limit of a command. Default: 100. */
  timeoutMs?: number;
  logger: Pick<Logger, "info" | "warn">;
  onChange?: (available: boolean) => void;
}

/** Wraps a Redis client so that its loss costs one short timeout and never an error. */
export function sharedStore(options: SharedStoreOptions): SharedStore {
  const { client, logger, onChange, timeoutMs = ANSWER_TIMEOUT_MS } = options;
  let available = false;
  let closed = false;
  /** Whether the log says that Redis is unavailable. */
  let loggedDown = false;
  let unanswered = 0;
  let reason = "the connection was closed";
  let probeTimer: NodeJS.Timeout | undefined;

  const up = () => {
    clearTimeout(probeTimer);
    probeTimer = undefined;
    if (closed || available) return;
    available = true;
    onChange?.(true);
    if (loggedDown) logger.info("Redis answers again.");
    loggedDown = false;
  };
  const down = () => {
    available = false;
    if (closed) return;
    onChange?.(false);
    if (!loggedDown) logger.warn(`Redis does not answer (${reason}): checks and limits go on without it.`);
    loggedDown = true;
    probeLater();
  };
  // Without a connection the client connects by itself and emits "ready"; an open connection without answers needs a ping.
  const probeLater = () => {
    probeTimer ??= setTimeout(async () => {
      const pong = client.status === "ready" ? withTimeout(timeoutMs, () => client.ping()) : undefined;
      const answer = await pong?.catch(() => undefined);
      probeTimer = undefined;
      if (answer === "PONG") up();
      else if (!closed && !available) probeLater();
    }, PROBE_INTERVAL_MS).unref();
  };

  client.on("ready", up);
  client.on("error", (error: Error) => {
    reason = error.message || error.name;
    if (!available && !loggedDown) down();
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
        return await withTimeout(timeoutMs, () => work(client));
      } catch (error) {
        // Redis may refuse one command and execute the next: only a missing answer means that it is unavailable.
        reason = (error as Error).message;
        if (error instanceof TimeoutError && available) down();
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
      clearTimeout(probeTimer);
      if (available) await withTimeout(timeoutMs, () => client.quit()).catch(() => undefined);
      client.disconnect();
    },
  };
}
