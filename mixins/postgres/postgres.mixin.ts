import { setTimeout as delay } from "node:timers/promises";
import type { ServiceSchema } from "moleculer";
import type { PoolClient } from "pg";
import { fail } from "../../contracts/errors.ts";
import { failpoint } from "../../lib/failpoint.ts";
import {
  Database,
  isConnectionTrouble,
  type Transaction,
  type UnreadableRow,
} from "../../lib/sql/database.ts";
import { withTimeout } from "../../lib/timeout.ts";

const READY_PROBE_TIMEOUT_MS = 2_000;
/** Time limit of the first connections at start. It is long, because a machine that starts all services at once is slow. */
const START_TIMEOUT_MS = 30_000;
const START_POLL_MS = 100;
/**
 * Connections that a service opens before its work begins. All background work begins at the same time, and on a busy
 * machine a new connection would take longer than a request or sweep may wait for it.
 */
const START_CONNECTIONS = 8;

export interface Postgres {
  /** Goes into the service's `mixins`; opens the pool when the service starts and closes it when it stops. */
  readonly mixin: Partial<ServiceSchema>;
  /** For direct connections (LISTEN, advisory locks) outside the pool. */
  readonly url: string;
  /** @throws Error before the service has started */
  readonly db: Database;
  /** Runs `work` in one transaction: commits when it resolves, rolls back when it throws. */
  transact<T>(work: (trx: Transaction) => Promise<T>): Promise<T>;
  /** Sets the function that is called for each unreadable row. Call it before the service starts. */
  onUnreadableRow(listener: (row: UnreadableRow) => void): void;
  /** Whether the database answers within two seconds. */
  ping(): Promise<boolean>;
}

export interface PostgresOptions {
  url: string;
  poolSize: number;
  acquireTimeoutMs: number;
  requestTimeoutMs?: number;
  name: string;
}

/** The database of one service. */
export function postgres(options: PostgresOptions): Postgres {
  let pool: Database | undefined;
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
      const answer = withTimeout(READY_PROBE_TIMEOUT_MS, () => db().query("SELECT 1"));
      return answer.then(
        () => true,
        () => false,
      );
    },
    mixin: {
      // A retry may succeed after a lost connection, so the caller gets a retryable error.
      hooks: { error: { "*": (_ctx, error) => Promise.reject(unavailableOr(error)) } },
      async started() {
        pool = new Database({ ...options, applicationName: `waybill ${options.name}` });
        pool.reportUnreadable = (row) => unreadable(row);
        await openConnections(pool, Math.min(START_CONNECTIONS, options.poolSize));
      },
      async stopped() {
        const closing = pool;
        pool = undefined;
        await closing?.close();
      },
    },
  };
}

/** Holds each connection until all are open. Otherwise the pool would reuse the first one. */
async function openConnections(pool: Database, count: number): Promise<void> {
  const all = Promise.withResolvers<void>();
  let open = 0;
  await Promise.all(
    Array.from({ length: count }, async () => {
      const connection = await openConnection(pool);
      open += 1;
      if (open === count) all.resolve();
      await all.promise;
      connection.release();
    }),
  ).catch((error) => {
    all.resolve();
    throw error;
  });
}

async function openConnection(pool: Database): Promise<PoolClient> {
  const deadline = Date.now() + START_TIMEOUT_MS;
  for (;;) {
    try {
      return await pool.acquire();
    } catch (error) {
      if (!isConnectionTrouble(error) || Date.now() > deadline) throw error;
    }
    await delay(START_POLL_MS);
  }
}

function unavailableOr(error: Error): Error {
  return isConnectionTrouble(error) ? fail("SERVICE_UNAVAILABLE", "The database cannot be reached.") : error;
}
