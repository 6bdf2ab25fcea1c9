import { setTimeout as delay } from "node:timers/promises";
import type { Knex } from "knex";
import type { ServiceSchema } from "moleculer";
import { fail } from "../../contracts/errors.ts";
import { failpoint } from "../../lib/failpoint.ts";
import {
  isConnectionTrouble,
  onUnreadableRow,
  openDatabase,
  type UnreadableRow,
} from "../../lib/sql/database.ts";

const READY_PROBE_TIMEOUT_MS = 2_000;
/** How long a service that starts waits for its database: a machine that starts everything at once is slow. */
const START_TIMEOUT_MS = 30_000;
const START_POLL_MS = 100;
/**
 * Connections that a service opens before its work begins. All of its background work begins at once then, and a request
 * or sweep that had to open its own would not have it in time on a busy machine.
 */
const START_CONNECTIONS = 8;

export interface Postgres {
  /** Goes into the service's `mixins`; opens the pool when the service starts and closes it when it stops. */
  readonly mixin: Partial<ServiceSchema>;
  /** For direct connections (LISTEN, advisory locks), which do not come out of the pool. */
  readonly url: string;
  /** @throws Error before the service has started */
  readonly db: Knex;
  /** Runs `work` in one transaction: commits when it resolves, rolls back when it throws. */
  transact<T>(work: (trx: Knex.Transaction) => Promise<T>): Promise<T>;
  /** @param listener is told of each row that cannot be read; to be called before the service starts */
  onUnreadableRow(listener: (row: UnreadableRow) => void): void;
  /** Whether the database answers within two seconds. */
  ping(): Promise<boolean>;
}

export interface PostgresOptions {
  url: string;
  poolSize: number;
  acquireTimeoutMs: number;
  name: string;
}

/** The database of one service. @throws Error when the service mixes it in twice (by its name, at start) */
export function postgres(options: PostgresOptions): Postgres {
  let pool: Knex | undefined;
  let unreadable: (row: UnreadableRow) => void = () => undefined;
  const db = () => {
    if (!pool) throw new Error(`the database of ${options.name} is not open`);
    return pool;
  };
  return {
    url: options.url,
    get db() {
      return db();
    },
    async transact(work) {
      const result = await db().transaction(async (trx) => {
        const done = await work(trx);
        failpoint("transaction.ending");
        return done;
      });
      failpoint("transaction.ended");
      return result;
    },
    onUnreadableRow(listener) {
      unreadable = listener;
    },
    async ping() {
      const answer = db()
        .raw("SELECT 1")
        .timeout(READY_PROBE_TIMEOUT_MS)
        .then(() => true);
      return answer.catch(() => false);
    },
    mixin: {
      // A lost connection is nobody's fault, and the caller's next try may find it.
      hooks: { error: { "*": (_ctx, error) => Promise.reject(reachable(error)) } },
      async started() {
        pool = openDatabase({ ...options, applicationName: `waybill ${options.name}` });
        onUnreadableRow(pool, (row) => unreadable(row));
        await firstConnections(pool, Math.min(START_CONNECTIONS, options.poolSize));
      },
      async stopped() {
        const closing = pool;
        pool = undefined;
        await closing?.destroy();
      },
    },
  };
}

/** They are all in use until the last one is open, or one would serve them all. */
async function firstConnections(pool: Knex, count: number): Promise<void> {
  const all = Promise.withResolvers<void>();
  let open = 0;
  await Promise.all(
    Array.from({ length: count }, async () => {
      const connection = await firstConnection(pool);
      open += 1;
      if (open === count) all.resolve();
      await all.promise;
      await pool.client.releaseConnection(connection);
    }),
  ).catch((error) => {
    all.resolve();
    throw error;
  });
}

async function firstConnection(pool: Knex): Promise<unknown> {
  const deadline = Date.now() + START_TIMEOUT_MS;
  for (;;) {
    try {
      return await pool.client.acquireConnection();
    } catch (error) {
      if (!isConnectionTrouble(error) || Date.now() > deadline) throw error;
    }
    await delay(START_POLL_MS);
  }
}

function reachable(error: Error): Error {
  return isConnectionTrouble(error) ? fail("SERVICE_UNAVAILABLE", "The database cannot be reached.") : error;
}
