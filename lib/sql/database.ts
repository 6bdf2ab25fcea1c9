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

/** A whole number that JavaScript cannot count exactly. The row that holds it is told of and never handed out. */
class Uncountable {}

// One spelling of values everywhere behind this line: whole numbers that count exactly, moments as ISO text.
pg.types.setTypeParser(pg.types.builtins.INT8, (text) => {
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : new Uncountable();
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

/** A row that holds a number beyond 2^53 - 1. */
export interface UnreadableRow {
  /** Its id, or that of what it belongs to; `unknown` where the statement asked for none. */
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

/** Transactions share the configuration of their pool. */
const listeners = new WeakMap<object, (row: UnreadableRow) => void>();

/** @param listener is told of each unreadable row, each time that it is met */
export function onUnreadableRow(pool: Knex, listener: (row: UnreadableRow) => void): void {
  listeners.set(pool.client.config, listener);
}

/** PostgreSQL's own code for too many connections: here those of a pool, or a server that is slow to give one. */
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

/** Opens a pool; nothing is connected before the first statement. The caller destroys it. */
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
    log: SILENT, // whatever knex prints to the console is also thrown to whom it concerns
  });
  // knex guesses at a programming error; transactions take their connection from here too.
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

/** How many statements a connection keeps prepared: more than this program has, should one be put together anew each time. */
const PREPARED_MAX = 1_000;
const names = new Map<string, string>();

/** Values by position or by name. A named value must not be undefined: null stands for an absent one. */
export type Bindings = readonly unknown[] | Readonly<Record<string, unknown>>;

/** The rows that can be read; with how many could not, by which a list knows that it goes on. */
export type Rows<T> = T[] & { skipped?: number };

/**
 * The rows of one statement, columns in camelCase, absent values left out instead of null. A row that cannot be read
 * is skipped and told of, so that it takes down no list, sweep or claim of others.
 * @param sql with `?` for each binding or `:name` for each named one (knex's raw syntax; `\\?` is a literal question mark)
 */
export async function rows<T>(db: Db, sql: string, bindings: Bindings = []): Promise<Rows<T>> {
  return rowsOf(db, await run(db, sql, bindings, nameOf(sql)));
}

/** The same of a statement whose best plan is another one for other values, as of a rare word and a common one. */
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
  throw new UnreadableRowError(tell(db, first));
}

/** How many rows a write touched: the guard in its WHERE tells by it whether it won. */
export async function affected(db: Db, sql: string, bindings: Bindings = []): Promise<number> {
  const result = await run(db, sql, bindings, nameOf(sql));
  return result.rowCount as number;
}

/**
 * Why something failed, in words for an operator. Of what a statement failed with, the driver puts the whole statement in
 * front of the reason; that is left out.
 */
export function reasonOf(error: unknown): string {
  const { message, severity } = (error ?? {}) as { message?: string; severity?: string };
  const text = message ?? String(error);
  if (severity === undefined) return text;
  const at = text.lastIndexOf(" - ");
  return at < 0 ? text : text.slice(at + 3);
}

/**
 * Under a name each connection parses and plans a statement at its first runs and not at every one. A prepared statement
 * breaks when its columns change under it, so none answers `*` of a table: a migration that adds a column disturbs
 * nobody.
 */
function run(db: Db, sql: string, bindings: Bindings, name: string | undefined) {
  return db
    .raw(sql, bindings as Knex.RawBinding[] | Knex.ValueDict)
    .options(name === undefined ? {} : { name });
}

function nameOf(sql: string): string | undefined {
  let name = names.get(sql);
  if (name === undefined && names.size < PREPARED_MAX) {
    name = `s${names.size}`;
    names.set(sql, name);
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
      tell(db, raw);
      found.skipped = (found.skipped ?? 0) + 1;
    }
  }
  return found;
}

function tell(db: Db, raw: RawRow): UnreadableRow {
  const { id = raw.order_id ?? raw.product_id ?? "unknown" } = raw;
  const columns = Object.keys(raw).filter((column) => raw[column] instanceof Uncountable);
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
    if (value instanceof Uncountable) return undefined;
    if (value !== null) target[camelName(column)] = value;
  }
  return target;
}

/** Connections lost or refused, the pool exhausted, statement and lock timeouts: a later try may succeed. */
export function isConnectionTrouble(error: unknown): boolean {
  const { code, message } = (error ?? {}) as { code?: string; message?: string };
  if (code === undefined && ENDED.test(message ?? "")) return true;
  return typeof code === "string" && (TROUBLE.test(code) || /^E(?:CONN|PIPE|TIMEDOUT|NOTFOUND)/.test(code));
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

/** Messages of the driver for a connection that ended during a statement. They have no code, and knex prefixes the statement. */
const ENDED = /(?:^| - )(?:Connection terminated|Client has encountered a connection error|timeout expired)/;

const TROUBLE = /^(?:08|53|57P)|^(?:55P03|57014|25P03)$/;
