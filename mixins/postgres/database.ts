import knex, { type Knex } from "knex";
import pg from "pg";
import { isoTime } from "../../lib/clock.ts";

export type Db = Knex | Knex.Transaction;

const STATEMENT_TIMEOUT_MS = 1_500;
const LOCK_TIMEOUT_MS = 1_000;
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 5_000;

const ignore = () => undefined;
const SILENT = { debug: ignore, deprecate: ignore, warn: ignore, error: ignore };

// One spelling of values everywhere behind this line: whole numbers that count exactly, moments as ISO text.
pg.types.setTypeParser(pg.types.builtins.INT8, (text) => {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError("a bigint beyond 2^53 - 1 came from the database");
  return value;
});
pg.types.setTypeParser(pg.types.builtins.TIMESTAMPTZ, (text) => {
  // PostgreSQL writes "2026-11-22 08:00:00.123+00": ISO 8601 but for the blank and the minutes of the offset.
  return isoTime(Date.parse(text.replace(" ", "T").replace(/[+-]\d\d$/, "$&:00")));
});

export interface DatabaseOptions {
  url: string;
  poolSize: number;
  /** How long a statement waits for a free connection, making one included. */
  acquireTimeoutMs: number;
  applicationName: string;
  /** false: a commit does not wait for the disk, for what can be made anew. */
  synchronousCommit?: false;
}

/** Opens a pool; nothing is connected before the first statement. The caller destroys it. */
export function openDatabase(options: DatabaseOptions): Knex {
  const { url, poolSize, acquireTimeoutMs, applicationName } = options;
  return knex({
    client: "pg",
    connection: {
      connectionString: url,
      application_name: applicationName,
      statement_timeout: STATEMENT_TIMEOUT_MS,
      lock_timeout: LOCK_TIMEOUT_MS,
      idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_TIMEOUT_MS,
      ...(options.synchronousCommit === false && { options: "-c synchronous_commit=off" }),
    } as Knex.PgConnectionConfig,
    pool: { min: 0, max: poolSize },
    acquireConnectionTimeout: acquireTimeoutMs,
    log: SILENT, // whatever knex prints to the console is also thrown to whom it concerns
  });
}

/** How many statements a connection keeps prepared: more than this program has, should one be put together anew each time. */
const PREPARED_MAX = 1_000;
const names = new Map<string, string>();

/**
 * The rows of one statement, columns in camelCase, absent values left out instead of null.
 * @param sql with `?` for each binding (knex's raw syntax; `\\?` is a literal question mark)
 */
export async function rows<T>(db: Db, sql: string, bindings: readonly unknown[] = []): Promise<T[]> {
  return rowsOf(await run(db, sql, bindings, nameOf(sql)));
}

/** The same of a statement whose best plan is another one for other values, as of a rare word and a common one. */
export async function rowsPlannedAnew<T>(db: Db, sql: string, bindings: readonly unknown[]): Promise<T[]> {
  return rowsOf(await run(db, sql, bindings, undefined));
}

/** The first row, or undefined. */
export async function row<T>(db: Db, sql: string, bindings: readonly unknown[] = []): Promise<T | undefined> {
  return (await rows<T>(db, sql, bindings))[0];
}

/** How many rows a write touched: the guard in its WHERE tells by it whether it won. */
export async function affected(db: Db, sql: string, bindings: readonly unknown[] = []): Promise<number> {
  const result = await run(db, sql, bindings, nameOf(sql));
  return result.rowCount as number;
}

/**
 * Under a name each connection parses and plans a statement at its first runs and not at every one. A prepared statement
 * breaks when its columns change under it, so none answers `*` of a table: a migration that adds a column disturbs
 * nobody.
 */
function run(db: Db, sql: string, bindings: readonly unknown[], name: string | undefined) {
  return db.raw(sql, bindings as Knex.RawBinding[]).options(name === undefined ? {} : { name });
}

function nameOf(sql: string): string | undefined {
  let name = names.get(sql);
  if (name === undefined && names.size < PREPARED_MAX) {
    name = `s${names.size}`;
    names.set(sql, name);
  }
  return name;
}

function rowsOf<T>(result: { rows: unknown }): T[] {
  return (result.rows as Record<string, unknown>[]).map((row) => camelRow(row) as T);
}

const camelNames = new Map<string, string>();

function camelName(column: string): string {
  let name = camelNames.get(column);
  if (name === undefined) {
    name = column.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
    camelNames.set(column, name);
  }
  return name;
}

function camelRow(source: Record<string, unknown>): Record<string, unknown> {
  const target: Record<string, unknown> = {};
  for (const column in source) {
    const value = source[column];
    if (value !== null) target[camelName(column)] = value;
  }
  return target;
}
