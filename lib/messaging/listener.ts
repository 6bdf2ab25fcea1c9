import pg from "pg";
import { type Backoff, backoffMs } from "../backoff.ts";
import type { Logger } from "../logger.ts";
import { logDatabaseWait } from "../sql/database-wait.ts";

const CONNECT_TIMEOUT_MS = 2_000;
const KEEPALIVE_DELAY_MS = 10_000;
const RECONNECT: Backoff = { firstMs: 100, factor: 2, maxMs: 5_000, jitter: 0.5 };

export interface Listener {
  stop(): Promise<void>;
}

/**
 * Listens on one channel over a separate connection (a connection pooler would lose the notifications) and reconnects
 * without limit. Notifications only reduce the delay: the caller must also sweep.
 * @param onWake receives the payload; without one after each connect, since notifications may have been missed
 */
export function startListener(options: {
  url: string;
  channel: string;
  onWake: (payload?: string) => void;
  logger: Logger;
}): Listener {
  const { url, channel, onWake, logger } = options;
  let client: pg.Client | undefined;
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;
  let failures = 0;

  const connect = async () => {
    const next = new pg.Client({
      connectionString: url,
      application_name: `waybill listen ${channel}`,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      keepAlive: true,
      keepAliveInitialDelayMillis: KEEPALIVE_DELAY_MS,
    });
    client = next;
    next.on("error", (error) => onLost(next, error)); // without a listener, an idle disconnect would end the process
    next.on("end", () => onLost(next));
    next.on("notification", ({ payload }) => onWake(payload));
    try {
      await next.connect();
      await next.query(`LISTEN ${pg.escapeIdentifier(channel)}`);
      failures = 0;
      if (!stopped) onWake();
    } catch (error) {
      onLost(next, error);
    }
  };
  const onLost = (which: pg.Client, error?: unknown) => {
    if (which !== client || stopped) return;
    client = undefined;
    failures += 1;
    if (error) logDatabaseWait(logger, error);
    which.end().catch(() => undefined);
    timer = setTimeout(
      () => {
        connecting = connect();
      },
      backoffMs(RECONNECT, failures),
    );
    timer.unref();
  };

  let connecting = connect();
  return {
    async stop() {
      stopped = true;
      clearTimeout(timer);
      await connecting;
      await client?.end().catch(() => undefined);
    },
  };
}
