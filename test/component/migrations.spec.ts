import { afterAll, describe, expect, it } from "@jest/globals";
import pg from "pg";
import { newId } from "../../lib/ids.ts";
import { checkSchema, databases, migrate, migrateDown } from "../../platform/migrate.ts";
import { createDatabase, type TestDatabase } from "../support/postgres.ts";

const opened: TestDatabase[] = [];
const open = async (service: (typeof databases)[number]) => {
  const database = await createDatabase(service);
  opened.push(database);
  return database;
};
afterAll(() => Promise.all(opened.map((database) => database.drop())));

async function query<T>(url: string, sql: string): Promise<T[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql)).rows as T[];
  } finally {
    await client.end();
  }
}

const TABLES = `SELECT tablename FROM pg_tables
  WHERE schemaname = 'public' AND tablename NOT LIKE 'knex%' ORDER BY tablename`;
const COLUMNS = `SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns
  WHERE table_schema = 'public' ORDER BY table_name, column_name`;

describe.each(databases)("the migrations of %s", (service) => {
  it("go back to nothing and up again to the same schema", async () => {
    const { url } = await open(service);
    const before = await query(url, COLUMNS);
    await migrateDown(service, url);
    expect(await query(url, TABLES)).toEqual([]);
    await migrate(service, url);
    expect(await query(url, COLUMNS)).toEqual(before);
  });

  it("leave only tables that say when their rows were made and changed", async () => {
    const { url } = await open(service);
    const without = await query(
      url,
      `SELECT t.tablename FROM pg_tables t WHERE schemaname = 'public' AND tablename NOT LIKE 'knex%'
         AND (SELECT count(*) FROM information_schema.columns c WHERE c.table_name = t.tablename
              AND c.column_name IN ('created_at', 'updated_at')) < 2`,
    );
    expect(without).toEqual([]);
  });
});

describe("migrating", () => {
  it("by several processes at once makes the database and migrates it once", async () => {
    const { url } = await open("orders");
    const fresh = new URL(url);
    fresh.pathname = `/orders_${newId().replaceAll("-", "")}`;
    const drop = () => query(url, `DROP DATABASE ${fresh.pathname.slice(1)} WITH (FORCE)`);
    const results = await Promise.all([1, 2, 3].map(() => migrate("orders", fresh.href)));
    expect(results.filter(({ applied }) => applied.length > 0)).toHaveLength(1);
    await drop();
  });

  it("goes on where a process was killed that held knex's own mark", async () => {
    const { url } = await open("orders");
    await query(url, "UPDATE knex_migrations_lock SET is_locked = 1");
    await expect(migrate("orders", url)).resolves.toEqual({ service: "orders", applied: [] });
  });

  it("left out, is noticed by a process that must not migrate", async () => {
    const { url } = await open("orders");
    await expect(checkSchema("orders", url)).resolves.toBeUndefined();
    await query(url, "INSERT INTO knex_migrations (name) VALUES ('9999_from_tomorrow.ts')");
    await expect(checkSchema("orders", url)).rejects.toThrow(/newer than this code: 9999_from_tomorrow/);
    await query(url, "DELETE FROM knex_migrations");
    await expect(checkSchema("orders", url)).rejects.toThrow(/lacks \d+ migrations: npm run migrate/);
  });
});
