import { expect } from "@jest/globals";
import pg from "pg";
import { eventually } from "./eventually.ts";

/** A transaction of the test beside those of the product. */
export interface OtherTransaction {
  query(sql: string, values?: unknown[]): Promise<unknown>;
}

/**
 * Runs `work` while another transaction holds the locks that `hold` takes, and then `probe` in that transaction, once
 * `work` waits for it. The probe fails if `work` holds a lock that it needs: the two transactions would then wait for each
 * other until PostgreSQL finds the deadlock.
 * @param work is repeated when it fails, because its wait may exceed the lock timeout
 * @returns the result of `work` after the other transaction was rolled back
 */
export async function whileLocked<T>(
  url: string,
  hold: (other: OtherTransaction) => Promise<unknown>,
  work: () => Promise<T>,
  probe: (other: OtherTransaction) => Promise<unknown>,
): Promise<T> {
  const [other, onlooker] = [0, 0].map(() => new pg.Client({ connectionString: url })) as [
    pg.Client,
    pg.Client,
  ];
  await Promise.all([other.connect(), onlooker.connect()]);
  try {
    await other.query("BEGIN; SET LOCAL lock_timeout = '100ms'");
    const { rows } = await other.query<{ id: number }>("SELECT pg_backend_pid() AS id");
    await hold(other);
    let failed = false;
    const start = () => {
      failed = false;
      const run = work();
      run.catch(() => {
        failed = true;
      });
      return run;
    };
    let done = start();
    await eventually(async () => {
      // On a busy machine its wait may exceed the lock timeout before it is seen here.
      if (failed) done = start();
      const waiting = await onlooker.query(
        `SELECT FROM pg_stat_activity
         WHERE datname = current_database() AND $1 = ANY (pg_blocking_pids(pid))`,
        [rows[0]?.id],
      );
      expect(waiting.rowCount).toBeGreaterThan(0);
    });
    await probe(other);
    await other.query("ROLLBACK");
    return await done.catch(work);
  } finally {
    await Promise.all([other.end(), onlooker.end()]);
  }
}
