import { affected, type Db, row, rows } from "../../lib/sql/database.ts";
import type { Search, StoredDocument } from "./port.ts";
import { conditionOf, orderOf } from "./postgres-query.ts";

interface Row {
  id: string;
  document: object;
}

export async function get(db: Db, table: string, id: string): Promise<StoredDocument | undefined> {
  const found = await row<Row>(db, `SELECT id, document FROM ${table} WHERE id = ?`, [id]);
  return found && documentOf(found);
}

export async function count(db: Db, table: string, query: object): Promise<number> {
  const { text, bindings } = conditionOf(query);
  const sql = `SELECT count(*) AS count FROM ${table} WHERE ${text}`;
  return (await row<{ count: number }>(db, sql, bindings))?.count ?? 0;
}

export async function remove(db: Db, table: string, query: object): Promise<number> {
  const { text, bindings } = conditionOf(query);
  return affected(
    db,
    `DELETE FROM ${table} WHERE id = ANY (ARRAY(SELECT id FROM ${table} WHERE ${text} ORDER BY id FOR UPDATE))`,
    bindings,
  );
}

export async function batchAfter(
  db: Db,
  table: string,
  id: string,
  limit: number,
): Promise<StoredDocument[]> {
  const sql = `SELECT id, document FROM ${table} WHERE id > ? ORDER BY id LIMIT ?`;
  return (await rows<Row>(db, sql, [id, limit])).map(documentOf);
}

export async function isFilled(db: Db, collection: string): Promise<boolean> {
  const sql = "SELECT 1 AS found FROM documents.collections WHERE name = ?";
  return (await row(db, sql, [collection])) !== undefined;
}

export async function markFilled(db: Db, collection: string): Promise<void> {
  await affected(db, "INSERT INTO documents.collections (name) VALUES (?) ON CONFLICT DO NOTHING", [
    collection,
  ]);
}

// Sorted by id, as all writes of several documents, so that two of them do not deadlock.
export async function insert(db: Db, table: string, documents: readonly StoredDocument[]): Promise<void> {
  await affected(
    db,
    `INSERT INTO ${table} (id, document)
     SELECT id, document FROM jsonb_to_recordset(?::jsonb) AS d(id text, document jsonb) ORDER BY id
     ON CONFLICT (id) DO NOTHING`,
    [newRows(documents)],
  );
}

/** Of several documents with one id, the newest is stored; of several with the same version, the last. */
export async function put(
  db: Db,
  table: string,
  documents: readonly StoredDocument[],
  version: string | undefined,
): Promise<void> {
  const field = (of: string) => `(${of}.document -> '${version}')`;
  const newestFirst = version === undefined ? "" : `${field("d")} DESC NULLS LAST,`;
  const unlessNewer =
    version === undefined
      ? ""
      : `WHERE ${field("stored")} IS NULL OR ${field("stored")} <= ${field("excluded")}`;
  await affected(
    db,
    `INSERT INTO ${table} AS stored (id, document)
     SELECT DISTINCT ON (id) id, document
     FROM ROWS FROM (jsonb_to_recordset(?::jsonb) AS (id text, document jsonb)) WITH ORDINALITY AS d(id, document, position)
     ORDER BY id, ${newestFirst} position DESC
     ON CONFLICT (id) DO UPDATE SET document = excluded.document ${unlessNewer}`,
    [newRows(documents)],
  );
}

export async function find(db: Db, table: string, { query, sort, limit }: Search): Promise<StoredDocument[]> {
  const { text, bindings } = conditionOf(query);
  const found = await rows<Row>(
    db,
    `SELECT id, document FROM ${table} WHERE ${text} ${orderOf(sort)} LIMIT ?`,
    [...bindings, limit],
  );
  return found.map(documentOf);
}

function newRows(documents: readonly StoredDocument[]): string {
  return JSON.stringify(documents.map(({ _id, ...document }) => ({ id: _id, document })));
}

function documentOf({ id, document }: Row): StoredDocument {
  return { _id: id, ...document };
}
