import type { Knex } from "knex";

/** The fields of one index in order. A minus in front means descending. */
type Index = readonly string[];

/**
 * The schema `documents`: projections of the tables of the same database, one table for each collection. It may be
 * lost: a collection that `collections` does not name is filled from the tables when its service starts. A backup may
 * leave out the data of the whole schema.
 *
 * There is one index for each query, over the fields as jsonb: a number compares as a number and a text as a text.
 */
export async function documentsUp(
  knex: Knex,
  collections: Readonly<Record<string, readonly Index[]>>,
): Promise<void> {
  await knex.raw(`
    CREATE SCHEMA documents;
    CREATE TABLE documents.collections (
      name text PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 60),
      filled_at timestamptz NOT NULL DEFAULT now(),
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now()
    );
  `);
  for (const [name, indexes] of Object.entries(collections)) await createCollection(knex, name, indexes);
  // A role that may use the tables of the service, as the service's own user, may use its projections.
  await knex.raw(`
    DO $$
    DECLARE grantee text;
    BEGIN
      FOR grantee IN
        SELECT DISTINCT quote_ident(r.rolname) FROM pg_namespace n, aclexplode(n.nspacl) a
        JOIN pg_roles r ON r.oid = a.grantee
        WHERE n.nspname = 'public' AND a.privilege_type = 'USAGE'
      LOOP
        EXECUTE 'GRANT USAGE ON SCHEMA documents TO ' || grantee;
        EXECUTE 'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA documents TO ' || grantee;
      END LOOP;
    END $$
  `);
}

/** The document contains its times, so the table needs no columns for them. There are several rows for each order. */
export async function createCollection(knex: Knex, name: string, indexes: readonly Index[]): Promise<void> {
  await knex.raw(`
    CREATE TABLE documents.${name} (
      id text COLLATE "C" PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 100),
      document jsonb NOT NULL CHECK (jsonb_typeof(document) = 'object')
    ) WITH (autovacuum_vacuum_scale_factor = 0.05)
  `);
  for (const [n, fields] of indexes.entries()) {
    await knex.raw(
      `CREATE INDEX ${name}_query_${n + 1} ON documents.${name} (${fields.map(keyOf).join(", ")})`,
    );
  }
}

function keyOf(field: string): string {
  const name = field.replace(/^-/, "");
  const column = name === "_id" ? "id" : `(document -> '${name}')`;
  return name === field ? column : `${column} DESC`;
}

export async function documentsDown(knex: Knex): Promise<void> {
  await knex.raw("DROP SCHEMA documents CASCADE");
}
