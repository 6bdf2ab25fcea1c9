import { afterAll, expect, it } from "@jest/globals";
import pg from "pg";
import { createDatabase } from "../support/postgres.ts";

const opened: Awaited<ReturnType<typeof createDatabase>>[] = [];
afterAll(() => Promise.all(opened.map((database) => database.drop())));

it("a test database holds the service's schema and nothing of another test's", async () => {
  const [one, other] = await Promise.all([createDatabase("orders"), createDatabase("orders")]);
  opened.push(one, other);
  const client = new pg.Client({ connectionString: one.url });
  await client.connect();
  await client.query("CREATE TABLE mine (id int)");
  const { rows } = await client.query("SELECT count(*)::int AS n FROM knex_migrations");
  await client.end();
  expect(rows[0].n).toBeGreaterThanOrEqual(0);
  const second = new pg.Client({ connectionString: other.url });
  await second.connect();
  await expect(second.query("SELECT * FROM mine")).rejects.toMatchObject({ code: "42P01" });
  await second.end();
});
