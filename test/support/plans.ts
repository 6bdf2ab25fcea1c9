import type { Knex } from "knex";
import type { Db } from "../../mixins/postgres/database.ts";
import type { DatabaseName } from "../../platform/migrate.ts";
import { explain } from "./explain.ts";
import { createDatabase, openPool } from "./postgres.ts";

/**
 * How many rows the large tables of plan tests have: few in `npm test`, where a table that is read as a whole shows
 * all the same, and two million in `npm run test:plans`.
 */
export const PLAN_ROWS = Number(process.env.PLAN_ROWS ?? 20_000);
/** An index, the row, and the index entries and constraints of a write. */
const PAGES_A_ROW = 10;
/** For the loading of the large size on a busy machine. */
export const LOAD_TIMEOUT_MS = 1_800_000;

export interface PlanBench {
  readonly db: Knex;
  /** Runs statements that fill tables, without foreign keys and time limits. */
  load(...statements: string[]): Promise<void>;
  /** Fails when the work reads so many rows, wanted or not, or ten times as many pages. */
  expectRows(work: (on: Db) => Promise<unknown>, below: number): Promise<void>;
  stop(): Promise<void>;
}

/** A database whose statistics stay those of empty tables until a test has them made. */
export async function planBench(service: DatabaseName): Promise<PlanBench> {
  const database = await createDatabase(service);
  const db = openPool(database, 1);
  await db.raw("SET statement_timeout = 0");
  await db.raw("SET session_replication_role = replica");
  const tables = await db.raw(
    "SELECT schemaname || '.' || tablename AS name FROM pg_tables WHERE schemaname IN ('public', 'documents')",
  );
  for (const { name } of tables.rows) await db.raw(`ALTER TABLE ${name} SET (autovacuum_enabled = false)`);
  return {
    db,
    async load(...statements) {
      for (const statement of statements) await db.raw(statement.replaceAll("?", "\\?"));
    },
    async expectRows(work, below) {
      const { rows, pages, text } = await explain(db, work);
      if (rows < below && pages < PAGES_A_ROW * below) return;
      throw new Error(`${rows} rows on ${pages} pages are read, ${below} were expected at most: ${text}`);
    },
    async stop() {
      await db.destroy();
      await database.drop();
    },
  };
}
