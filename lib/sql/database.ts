import pg from "pg";
import { isoTime } from "../clock.ts";
import type { Bindings } from "./bindings.ts";
import type { Db, UnreadableRow } from "./pool.ts";

export {
  Database,
  type DatabaseOptions,
  type Db,
  NoConnectionError,
  type Transaction,
  type UnreadableRow,
} from "./pool.ts";

/** An integer beyond 2^53 - 1. A row with one is reported and never returned. */
class UnsafeInteger {}

const UTC_TIME = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?\+00$/;

// int8 becomes a number and timestamptz ISO 8601 text, for every statement of the process.
pg.types.setTypeParser(pg.types.builtins.INT8, (text) => {
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : new UnsafeInteger();
});
pg.types.setTypeParser(pg.types.builtins.TIMESTAMPTZ, (text) => {
  // Date.parse and its text cost 1.2 us, a tenth of the time of a row of an order. In UTC nothing is to be computed.
  const utc = UTC_TIME.exec(text);
  if (utc) return `${utc[1]}T${utc[2]}.${(utc[3] ?? "").slice(0, 3).padEnd(3, "0")}Z`;
  // PostgreSQL writes "2026-11-22 08:00:00.123+01". ISO 8601 has a T instead of the blank, and minutes in the offset.
  return isoTime(Date.parse(text.replace(" ", "T").replace(/[+-]\d\d$/, "$&:00")));
});

export class UnreadableRowError extends Error {
  readonly row: UnreadableRow;

  constructor(row: UnreadableRow) {
    super(`the row ${row.id} holds a number beyond 2^53 - 1 in ${row.columns.join(", ")}`);
    this.row = row;
  }
}

/** The readable rows. `skipped` is the number of unreadable ones: a page of a list with skipped rows may have a next page. */
export type Rows<T> = T[] & { skipped?: number };

/**
 * The rows of one statement, with columns in camelCase and without fields for null. An unreadable row is skipped and
 * reported, so that it fails no list, sweep or claim of others. The statement is prepared: it fails when its result columns
 * change, so no statement may select `*` of a table, to which a migration can add a column at any time.
 * @param sql with `?` for each binding or `:name` for each named one (`\\?` is a literal question mark)
 */
export async function rows<T>(db: Db, sql: string, bindings: Bindings = []): Promise<Rows<T>> {
  return rowsOf(db, await db.query(sql, bindings, true));
}

/** Like `rows`, without a prepared statement: for SQL whose best plan depends on the values, e.g. on how common a word is. */
export async function rowsPlannedAnew<T>(db: Db, sql: string, bindings: Bindings): Promise<Rows<T>> {
  return rowsOf(db, await db.query(sql, bindings));
}

/** The first row, or undefined. @throws UnreadableRowError */
export async function row<T>(db: Db, sql: string, bindings: Bindings = []): Promise<T | undefined> {
  const result = await db.query(sql, bindings, true);
  const [first] = result.rows as RawRow[];
  if (!first) return undefined;
  const found = camelRow(first);
  if (found) return found as T;
  throw new UnreadableRowError(reportUnreadable(db, first));
}

/** The number of rows that a write has changed. Zero means that the condition of a guarded write did not hold. */
export async function affected(db: Db, sql: string, bindings: Bindings = []): Promise<number> {
  const result = await db.query(sql, bindings, true);
  return result.rowCount as number;
}

/** A statement that changes rows, with named bindings: a part of a larger statement, for example in a WITH query. */
export interface Write {
  sql: string;
  bindings: Readonly<Record<string, unknown>>;
}

/** The reason of an error, as text for an operator. */
export function reasonOf(error: unknown): string {
  return (error as { message?: string } | undefined)?.message ?? String(error);
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
  db.reportUnreadable?.(unreadable);
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
    typeof code === "string" &&
    (TROUBLE_CODE.test(code) ||
      /^E(?:CONN|PIPE|TIMEDOUT|NOTFOUND|HOSTUNREACH|NETUNREACH|AI_AGAIN)/.test(code))
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
  /^(?:Connection terminated|Client has encountered a connection error|timeout expired)/;

const TROUBLE_CODE = /^(?:08|53|57P)|^(?:55P03|57014|25P03)$/;
