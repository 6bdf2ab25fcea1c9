import { type BenchDatabase, OWN } from "./database.ts";

/** Lives in one transaction. */
const BATCH_LIVES = 20;
const COPIES = "bare";

interface Copied {
  /** Quoted names. */
  table: string;
  source: string;
  columns: string;
}

/**
 * The least that PostgreSQL must do to keep what an order life leaves: the rows of some lives are inserted once more, in
 * batches, into empty tables with the same columns, checks and indexes, without foreign keys. Updates, deletes, reads and
 * the single commits of each request are not part of it.
 * @param lives makes the lives whose rows are copied
 * @returns CPU time of PostgreSQL for each life, in microseconds
 */
export async function bareRows(
  database: BenchDatabase,
  count: number,
  lives: () => Promise<unknown>,
): Promise<number> {
  const since = new Map<string, string>();
  for (const name of OWN) {
    const [now] = await database.query(name, "SELECT pg_current_xact_id()::text AS xact");
    since.set(name, String(now?.xact));
  }
  await lives();
  const copied: [name: string, tables: Copied[]][] = [];
  for (const name of OWN) copied.push([name, await copyRows(database, name, since.get(name) as string)]);
  const before = database.cpuMicros();
  const batches = Math.ceil(count / BATCH_LIVES);
  for (const [name, tables] of copied) {
    for (let batch = 0; batch < batches; batch++) {
      // Several statements in one query are one transaction.
      const inserts = tables.map(
        ({ table, source, columns }) =>
          `INSERT INTO ${table} (${columns}) OVERRIDING SYSTEM VALUE
           SELECT ${columns} FROM ${source} WHERE bench_row % ${batches} = ${batch}`,
      );
      if (inserts.length > 0) await database.query(name, inserts.join(";\n"));
    }
  }
  return (database.cpuMicros() - before) / count;
}

/** Copies the rows that transactions from `since` wrote, and makes an empty table for each of theirs. */
async function copyRows(database: BenchDatabase, name: string, since: string): Promise<Copied[]> {
  await database.query(name, `CREATE SCHEMA ${COPIES}`);
  const tables = await database.query(
    name,
    `SELECT format('%I.%I', n.nspname, c.relname) AS table, c.relname AS name,
       (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
        WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = '') AS columns
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind = 'r' AND n.nspname IN ('public', 'documents') AND c.relname NOT LIKE 'knex%'`,
  );
  const copied: Copied[] = [];
  for (const [number, { table, columns }] of tables.entries()) {
    const one = {
      table: `${COPIES}.t${number}`,
      source: `${COPIES}.s${number}`,
      columns: String(columns),
    };
    await database.query(
      name,
      `CREATE UNLOGGED TABLE ${one.source} AS SELECT ${columns}, row_number() OVER () AS bench_row FROM ${table}
         WHERE xmin::text::bigint >= ${since};
       CREATE TABLE ${one.table} (LIKE ${table} INCLUDING ALL)`,
    );
    const [found] = await database.query(name, `SELECT count(*) FROM ${one.source}`);
    if (Number(found?.count) > 0) copied.push(one);
  }
  return copied;
}
