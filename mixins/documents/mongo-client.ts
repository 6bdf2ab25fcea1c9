import { createRequire } from "node:module";
import { setTimeout as delay } from "node:timers/promises";
import type { MongoClient, MongoClientOptions } from "mongodb";
import type { Logger } from "../../lib/logger.ts";

const SERVER_SELECTION_MS = 600;
const WAIT_QUEUE_MS = 600;
const CONNECT_MS = 1_000;
/** The interval at which the driver checks each server, and the longest delay until it notices a returned one. */
const HEARTBEAT_MS = 1_000;
/** After this time, an operation whose caller has timed out releases its connection. */
const SOCKET_MS = 12_000;
/** How long a primary waits for the majority before it reports an error. */
const WRITE_CONCERN_MS = 3_000;
const POOL_MAX = 10;
const RECONNECT_MS = 1_000;
/**
 * After this time without a server the driver connects anew. Once, after a server was killed, the driver made no further
 * check in any process, although the server was back.
 */
const RESTART_MS = 15_000;
const RESTART_CHECK_MS = 5_000;

/** An acknowledged write is on the disks of the majority and is never rolled back. Reads return only such writes. */
export const clientOptions = {
  writeConcern: { w: "majority", journal: true, wtimeoutMS: WRITE_CONCERN_MS },
  readConcern: { level: "majority" },
  readPreference: "primary",
  retryWrites: true,
  retryReads: true,
  serverSelectionTimeoutMS: SERVER_SELECTION_MS,
  waitQueueTimeoutMS: WAIT_QUEUE_MS,
  connectTimeoutMS: CONNECT_MS,
  heartbeatFrequencyMS: HEARTBEAT_MS,
  socketTimeoutMS: SOCKET_MS,
  maxPoolSize: POOL_MAX,
  ignoreUndefined: true,
  appName: "waybill",
} as const satisfies MongoClientOptions;

const WRITABLE = new Set(["Standalone", "RSPrimary", "Mongos", "LoadBalancer"]);

export interface SharedClient {
  readonly client: MongoClient;
  /** Whether a server that accepts writes was reachable at the driver's last check. */
  reachable(): boolean;
  readonly openedAtMs: number;
  /** Resolves after the first connection, without a time limit. Rejects if it is closed before that. */
  readonly connected: Promise<void>;
  release(): Promise<void>;
}

const shared = new Map<
  string,
  { users: number; opened: Omit<SharedClient, "release"> & { close(): Promise<void> } }
>();

/**
 * The connections of the process to one MongoDB. All collections share them; the last release closes them. Returns at once
 * and repeats connecting in the background until it succeeds. After that, the driver reconnects by itself.
 */
export function shareClient(url: string, logger: Logger): SharedClient {
  const known = shared.get(url) ?? { users: 0, opened: open(url, logger) };
  known.users++;
  shared.set(url, known);
  let released = false;
  return {
    ...known.opened,
    async release() {
      if (released) return;
      released = true;
      known.users--;
      if (known.users > 0) return;
      shared.delete(url);
      await known.opened.close();
    },
  };
}

function open(url: string, logger: Logger) {
  // `require` instead of `import`: the instrumentation of OpenTelemetry wraps only required modules.
  const mongodb = createRequire(import.meta.url)("mongodb") as typeof import("mongodb");
  const client = new mongodb.MongoClient(url, clientOptions);
  const closing = new AbortController();
  let reachable = false;
  let lostMs = 0;
  client.on("error", (error: Error) => logger.warn("the document store:", error.message));
  client.on("topologyDescriptionChanged", ({ newDescription }) => {
    const now = [...newDescription.servers.values()].some(({ type }) => WRITABLE.has(type));
    if (now === reachable) return;
    reachable = now;
    lostMs = performance.now();
    if (now) logger.info("the document store can be reached");
    else if (!closing.signal.aborted)
      logger.warn("the document store cannot be reached: projections are not updated");
  });
  const connected = connect(client, closing.signal, logger);
  connected.catch(() => undefined);
  let restarting = false;
  const restart = async () => {
    restarting = true;
    logger.warn("the document store was away for long: the driver connects anew");
    await client.close();
    await connect(client, closing.signal, logger);
  };
  const watchdog = setInterval(() => {
    const isLost = lostMs > 0 && !reachable && performance.now() - lostMs >= RESTART_MS;
    if (!isLost || restarting || closing.signal.aborted) return;
    restart()
      .catch((error) => logger.debug("the document store:", String(error)))
      .finally(() => {
        restarting = false;
        lostMs = performance.now();
      });
  }, RESTART_CHECK_MS);
  watchdog.unref();
  return {
    client,
    openedAtMs: performance.now(),
    connected,
    reachable: () => reachable,
    async close() {
      closing.abort();
      clearInterval(watchdog);
      await client.close();
    },
  };
}

async function connect(client: MongoClient, closing: AbortSignal, logger: Logger): Promise<void> {
  for (let failures = 0; ; failures++) {
    closing.throwIfAborted();
    try {
      await client.connect();
      return;
    } catch (error) {
      if (failures === 0) logger.warn("cannot connect to the document store yet:", (error as Error).message);
    }
    await delay(RECONNECT_MS, undefined, { signal: closing, ref: false });
  }
}
