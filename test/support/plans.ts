import pg from "pg";
import type { Database, Db } from "../../lib/sql/database.ts";
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
/** Tables that are filled at once: the cores of a small machine. */
const LOADERS = 2;

export interface PlanBench {
  readonly db: Database;
  /** Fills tables, several at once: each statement is an INSERT, and those of one table run one after the other. */
  load(...statements: string[]): Promise<void>;
  /** Has the statistics of all tables made. */
  analyze(): Promise<void>;
  /** Fails when the work reads so many rows, wanted or not, or ten times as many pages. */
  expectRows(work: (on: Db) => Promise<unknown>, below: number): Promise<void>;
  stop(): Promise<void>;
}

/** No foreign keys, and the memory to sort an index of the large size; without the time limits of the product. */
const SESSION = "-c session_replication_role=replica -c maintenance_work_mem=256MB";

/**
 * Rows are made without what they refer to, so foreign keys go. Without them each table can do without a log of its
 * writes, which no test reads. Statistics stay those of empty tables until a test has them made.
 */
const PREPARE = `
  DO $$
  DECLARE one record;
  BEGIN
    FOR one IN SELECT conrelid::regclass AS name, conname FROM pg_constraint WHERE contype = 'f' LOOP
      EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', one.name, one.conname);
    END LOOP;
    FOR one IN SELECT oid::regclass AS name FROM pg_class
      WHERE relkind = 'r' AND relnamespace IN (to_regnamespace('public'), to_regnamespace('documents')) LOOP
      EXECUTE format('ALTER TABLE %s SET UNLOGGED', one.name);
      EXECUTE format('ALTER TABLE %s SET (autovacuum_enabled = false)', one.name);
    END LOOP;
  END $$`;

/** A database whose statistics stay those of empty tables until a test has them made. */
export async function planBench(service: DatabaseName): Promise<PlanBench> {
  const database = await createDatabase(service);
  const db = openPool(database, 1);
  await withClient(database.url, (client) => client.query(PREPARE));
  return {
    db,
    load: (...statements) => load(database.url, statements),
    analyze: () => withClient(database.url, (client) => client.query("ANALYZE")),
    async expectRows(work, below) {
      const { rows, pages, text } = await explain(db, work);
      if (rows < below && pages < PAGES_A_ROW * below) return;
      throw new Error(`${rows} rows on ${pages} pages are read, ${below} were expected at most: ${text}`);
    },
    async stop() {
      await db.close();
      await database.drop();
    },
  };
}

async function load(url: string, statements: readonly string[]): Promise<void> {
  const byTable = [...Map.groupBy(statements, tableOf)];
  const loader = () =>
    withClient(url, async (client) => {
      for (let next = byTable.shift(); next; next = byTable.shift()) await fill(client, ...next);
    });
  await Promise.all(Array.from({ length: LOADERS }, loader));
}

async function withClient(url: string, work: (client: pg.Client) => Promise<unknown>): Promise<void> {
  const client = new pg.Client({ connectionString: url, options: SESSION });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}

function tableOf(statement: string): string {
  const [, table] = /^\s*INSERT INTO ([\w.]+)/.exec(statement) ?? [];
  if (!table) throw new Error(`no INSERT: ${statement}`);
  return table;
}

/**
 * Drops the table's indexes and builds them once after it is full, which takes a fraction of the time of updating them
 * row by row. Their size as the planner knows it stays that of an empty table.
 */
async function fill(client: pg.Client, table: string, statements: readonly string[]): Promise<void> {
  const parts = `SELECT '${table}'::regclass UNION ALL SELECT indexrelid FROM pg_index WHERE indrelid = '${table}'::regclass`;
  const { rows: sizes } = await client.query(
    `SELECT oid, relpages, reltuples, relallvisible FROM pg_class WHERE oid IN (${parts})`,
  );
  const setAside = "UPDATE pg_index SET indisready = false, indisvalid = false WHERE indrelid = $1::regclass";
  await client.query(setAside, [table]);
  for (const statement of statements) await client.query(statement);
  await client.query(`REINDEX TABLE ${table}`);
  await client.query(
    `UPDATE pg_class c SET relpages = s.relpages, reltuples = s.reltuples, relallvisible = s.relallvisible
     FROM jsonb_to_recordset($1) AS s(oid oid, relpages integer, reltuples real, relallvisible integer)
     WHERE c.oid = s.oid`,
    [JSON.stringify(sizes)],
  );
}
