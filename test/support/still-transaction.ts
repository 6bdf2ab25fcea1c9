import { afterAll, beforeAll, expect } from "@jest/globals";
import { type Database, rows, type Transaction } from "../../lib/sql/database.ts";
import type { DatabaseName } from "../../platform/migrate.ts";
import { eventually } from "./eventually.ts";
import { createDatabase, openPool, type TestDatabase } from "./postgres.ts";

/** A database of one spec file whose tests run the statements of a service by themselves. */
export interface StatementDatabase {
  /** Its pool. Use it within tests only: the database is created before the first one. */
  readonly db: Database;
  /** Runs the work in a transaction, in which `now()` does not change, and rolls it back. */
  still(work: (trx: Transaction) => Promise<void>): Promise<void>;
  /** Locks the tables, starts the writes, and expects that none of them ends before the lock is released. */
  expectToWaitFor(tables: string, writes: Record<string, () => Promise<unknown>>): Promise<void>;
  /** Resolves when so many statements wait for a lock. */
  statementsWaitForLocks(count: number): Promise<void>;
}

/**
 * Creates the database before the tests of the file and drops it after them. Call it at the top of the file.
 * @param connections of the pool; `expectToWaitFor` needs one more than it has writes
 */
export function statementDatabase(service: DatabaseName, connections: number): StatementDatabase {
  let database: TestDatabase;
  let db: Database;
  beforeAll(async () => {
    database = await createDatabase(service);
    db = openPool(database, connections);
  });
  afterAll(async () => {
    await db.close();
    await database.drop();
  });
  const statementsWaitForLocks = (count: number) =>
    eventually(async () => {
      const [found] = await rows<{ count: number }>(
        db,
        `SELECT count(*)::integer AS count FROM pg_stat_activity
         WHERE datname = current_database() AND wait_event_type = 'Lock'`,
      );
      expect(found?.count).toBe(count);
    });
  return {
    statementsWaitForLocks,
    get db() {
      return db;
    },
    async still(work) {
      const trx = await db.begin();
      try {
        await work(trx);
      } finally {
        await trx.rollback();
      }
    },
    async expectToWaitFor(tables, writes) {
      const blocker = await db.begin();
      await blocker.query(`LOCK TABLE ${tables} IN ACCESS EXCLUSIVE MODE`);
      const ended: string[] = [];
      const all = Object.entries(writes).map(async ([name, write]) => {
        await write();
        ended.push(name);
      });
      await statementsWaitForLocks(all.length);
      expect(ended).toEqual([]);
      await blocker.rollback();
      await Promise.all(all);
    },
  };
}

/** A moment of the transaction's time as SQL, later by so many seconds, or earlier where that is below 0. */
export const at = (seconds: number) => `now() + interval '${seconds} seconds'`;
