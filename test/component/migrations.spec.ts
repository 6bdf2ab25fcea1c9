import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import pg from "pg";
import { databases, migrate, migrateDown } from "../../platform/migrate.ts";
import { createDatabase, type TestDatabase } from "../support/postgres.ts";

describe.each(databases)("the migrations of %s", (service) => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createDatabase(service);
  });
  afterAll(() => database.drop());

  const query = async (sql: string) => {
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    try {
      return (await client.query(sql)).rows as Record<string, string>[];
    } finally {
      await client.end();
    }
  };
  const columns = () =>
    query(`SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns
      WHERE table_schema = 'public' AND table_name NOT LIKE 'knex%' ORDER BY 1, 2`);
  const constraints = () =>
    query(`SELECT conrelid::regclass::text AS of, pg_get_constraintdef(oid) AS says FROM pg_constraint
      WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text NOT LIKE 'knex%' ORDER BY 1, 2`);

  it("all the way down and up again, leave nothing behind and make the same schema", async () => {
    const [columnsBefore, constraintsBefore] = [await columns(), await constraints()];
    expect(columnsBefore.length).toBeGreaterThan(30);
    await migrateDown(service, database.url);
    expect(await columns()).toEqual([]);
    await migrate(service, database.url);
    expect([await columns(), await constraints()]).toEqual([columnsBefore, constraintsBefore]);
  });

  it("give every table a created_at", async () => {
    const found = await columns();
    const tables = [...new Set(found.map(({ table_name }) => table_name))];
    const without = tables.filter(
      (table) => !found.some((column) => column.table_name === table && column.column_name === "created_at"),
    );
    expect(without).toEqual([]);
  });
});
