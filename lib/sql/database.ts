import knex, { type Knex } from "knex";
import pg from "pg";
import { isoTime } from "../clock.ts";

export type Db = Knex | Knex.Transaction;

const STATEMENT_TIMEOUT_MS = 1_500;
/**
 * Above PostgreSQL's `deadlock_timeout` (1 s by default), so that the server finds a deadlock first: it then fails one of
 * the two transactions, with a code of its own. At the same value both would fail as if a lock were merely held too long.
 */
const LOCK_TIMEOUT_MS = 1_250;
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 5_000;

const ignore = () => undefined;
const SILENT = { debug: ignore, deprecate: ignore, warn: ignore, error: ignore };

/** An integer beyond 2^53 - 1. A row with one is reported and never returned. */
class UnsafeInteger {}

// int8 becomes a number and timestamptz ISO 8601 text, for every statement of the process.
pg.types.setTypeParser(pg.types.builtins.INT8, (text) => {
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : new UnsafeInteger();
});
pg.types.setTypeParser(pg.types.builtins.TIMESTAMPTZ, (text) => {
  // PostgreSQL writes "2026-11-22 08:00:00.123+00". ISO 8601 has a T instead of the blank, and minutes in the offset.
  return isoTime(Date.parse(text.replace(" ", "T").replace(/[+-]\d\d$/, "$&:00")));
});

export interface DatabaseOptions {
  url: string;
  poolSize: number;
  /** How long a statement waits for a connection, including the time to open one. */
  acquireTimeoutMs: number;
  applicationName: string;
  /** false: a commit does not wait for the disk. For data that can be rebuilt. */
  synchronousCommit?: false;
}

/** A row that holds a number beyond 2^53 - 1. */
export interface UnreadableRow {
  /** Its id or that of its order or product; `unknown` when the statement selects none. */
  id: string;
  columns: string[];
}

export class UnreadableRowError extends Error {
  readonly row: UnreadableRow;

  constructor(row: UnreadableRow) {
    super(`the row ${row.id} holds a number beyond 2^53 - 1 in ${row.columns.join(", ")}`);
    this.row = row;
  }
}

/** By the configuration of a pool, which its transactions share. */
const listeners = new WeakMap<object, (row: UnreadableRow) => void>();

/** @param listener is called for each unreadable row, each time that it is read */
export function onUnreadableRow(pool: Knex, listener: (row: UnreadableRow) => void): void {
  listeners.set(pool.client.config, listener);
}

/** PostgreSQL's code `too_many_connections`. NoConnectionError has it too, so that callers treat both alike. */
const TOO_MANY_CONNECTIONS = "53300";

/** No connection of a pool was free in time. */
export class NoConnectionError extends Error {
  readonly code = TOO_MANY_CONNECTIONS;

  constructor({ applicationName, poolSize, acquireTimeoutMs }: DatabaseOptions) {
    super(
      `none of the ${poolSize} connections of "${applicationName}" was free within ${acquireTimeoutMs} ms`,
    );
  }
}

interface ConnectionSource {
  acquireConnection(): Promise<unknown>;
}

/** Opens a pool. It connects at the first statement. The caller destroys it. */
export function openDatabase(options: DatabaseOptions): Knex {
  const { url, poolSize, acquireTimeoutMs, applicationName } = options;
  const db = knex({
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
    log: SILENT, // knex also throws what it prints to the console
  });
  // knex's own message suggests a programming error. Transactions also get their connection through this method.
  const client = db.client as ConnectionSource;
  const acquire = client.acquireConnection.bind(client);
  client.acquireConnection = async () => {
    try {
      return await acquire();
    } catch (error) {
      throw (error as Error).name === "KnexTimeoutError" ? new NoConnectionError(options) : error;
    }
  };
  return db;
}

/** The maximum number of prepared statements, so that dynamically built SQL cannot fill the memory. The program has fewer. */
const PREPARED_MAX = 1_000;
const statementNames = new Map<string, string>();

/** Values by position or by name. A named value must not be undefined: null stands for an absent one. */
export type Bindings = readonly unknown[] | Readonly<Record<string, unknown>>;

/** The readable rows. `skipped` is the number of unreadable ones: a page of a list with skipped rows may have a next page. */
export type Rows<T> = T[] & { skipped?: number };

/**
 * The rows of one statement, with columns in camelCase and without fields for null. An unreadable row is skipped and
 * reported, so that it fails no list, sweep or claim of others.
 * @param sql with `?` for each binding or `:name` for each named one (knex's raw syntax; `\\?` is a literal question mark)
 */
export async function rows<T>(db: Db, sql: string, bindings: Bindings = []): Promise<Rows<T>> {
  return rowsOf(db, await run(db, sql, bindings, nameOf(sql)));
}

/** Like `rows`, without a prepared statement: for SQL whose best plan depends on the values, e.g. on how common a word is. */
export async function rowsPlannedAnew<T>(db: Db, sql: string, bindings: Bindings): Promise<Rows<T>> {
  return rowsOf(db, await run(db, sql, bindings, undefined));
}

/** The first row, or undefined. @throws UnreadableRowError */
export async function row<T>(db: Db, sql: string, bindings: Bindings = []): Promise<T | undefined> {
  const result = await run(db, sql, bindings, nameOf(sql));
  const [first] = result.rows as RawRow[];
  if (!first) return undefined;
  const found = camelRow(first);
  if (found) return found as T;
  throw new UnreadableRowError(reportUnreadable(db, first));
}

/** The number of rows that a write has changed. Zero means that the condition of a guarded write did not hold. */
export async function affected(db: Db, sql: string, bindings: Bindings = []): Promise<number> {
  const result = await run(db, sql, bindings, nameOf(sql));
  return result.rowCount as number;
}

/**
 * The reason of an error, as text for an operator. Of a failed statement, it leaves out the SQL that the driver puts first.
 */
export function reasonOf(error: unknown): string {
  const { message, severity } = (error ?? {}) as { message?: string; severity?: string };
  const text = message ?? String(error);
  if (severity === undefined) return text;
  const at = text.lastIndexOf(" - ");
  return at < 0 ? text : text.slice(at + 3);
}

/**
 * A connection parses and plans a named statement only at its first runs. A prepared statement fails when its result
 * columns change. So no statement may select `*` of a table: a migration can add a column at any time.
 */
function run(db: Db, sql: string, bindings: Bindings, name: string | undefined) {
  return db
    .raw(sql, bindings as Knex.RawBinding[] | Knex.ValueDict)
    .options(name === undefined ? {} : { name });
}

function nameOf(sql: string): string | undefined {
  let name = statementNames.get(sql);
  if (name === undefined && statementNames.size < PREPARED_MAX) {
    name = `s${statementNames.size}`;
    statementNames.set(sql, name);
  }
  return name;
}

type RawRow = Record<string, unknown>;

function rowsOf<T>(db: Db, result: { rows: unknown }): Rows<T> {
  const found: Rows<T> = [];
  for (const raw of result.rows as RawRow[]) {
    const one = camelRow(raw);
    if (one) {
      found.push(one as T);
    } else {
      reportUnreadable(db, raw);
      found.skipped = (found.skipped ?? 0) + 1;
    }
  }
  return found;
}

function reportUnreadable(db: Db, raw: RawRow): UnreadableRow {
  const { id = raw.order_id ?? raw.product_id ?? "unknown" } = raw;
  const columns = Object.keys(raw).filter((column) => raw[column] instanceof UnsafeInteger);
  const unreadable = { id: String(id), columns };
  listeners.get(db.client.config)?.(unreadable);
  return unreadable;
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

/** Undefined for a row that cannot be read. */
function camelRow(source: RawRow): RawRow | undefined {
  const target: RawRow = {};
  for (const column in source) {
    const value = source[column];
    if (value instanceof UnsafeInteger) return undefined;
    if (value !== null) target[camelName(column)] = value;
  }
  return target;
}

/** A lost or refused connection, an exhausted pool, or a statement or lock timeout. A later attempt may succeed. */
export function isConnectionTrouble(error: unknown): boolean {
  const { code, message } = (error ?? {}) as { code?: string; message?: string };
  if (code === undefined && CONNECTION_ENDED.test(message ?? "")) return true;
  return (
    typeof code === "string" && (TROUBLE_CODE.test(code) || /^E(?:CONN|PIPE|TIMEDOUT|NOTFOUND)/.test(code))
  );
}

/**
 * Deletes up to `limit` rows whose `column` is below `before`, the oldest first. Rows that another transaction has locked
 * stay. The table needs an index on the column.
 * @returns how many rows were deleted
 */
export function deleteOldest(
  db: Db,
  table: string,
  column: string,
  { before, limit }: { before: string; limit: number },
): Promise<number> {
  return affected(
    db,
    `DELETE FROM ${table} WHERE ctid = ANY (ARRAY(
       SELECT ctid FROM ${table} WHERE ${column} < ? ORDER BY ${column} LIMIT ? FOR UPDATE SKIP LOCKED))`,
    [before, limit],
  );
}

/** How the message of an error of the driver begins when a connection ended during a statement. Such an error has no code. */
const CONNECTION_ENDED =
  /(?:^| - )(?:Connection terminated|Client has encountered a connection error|timeout expired)/;

const TROUBLE_CODE = /^(?:08|53|57P)|^(?:55P03|57014|25P03)$/;
