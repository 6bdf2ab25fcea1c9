import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { migrate, migrateDown } from "../../platform/migrate.ts";
import { createDatabase, type TestDatabase } from "../support/postgres.ts";
import { query } from "../support/sql.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase("identity");
});
afterAll(() => database.drop());

const CHECK = "23514";
const UNIQUE = "23505";

function insert(table: string, values: Record<string, unknown>): Promise<unknown> {
  const columns = Object.keys(values);
  const places = columns.map((_, index) => `$${index + 1}`).join(", ");
  return query(
    database.url,
    `INSERT INTO ${table} (${columns.join(", ")}) VALUES (${places})`,
    Object.values(values),
  );
}

const profile = (more: object = {}) => ({
  id: newId(),
  email: `${newId()}@example.org`,
  first_name: "Grete",
  last_name: "Hansen",
  language: "en",
  role: "customer",
  ...more,
});

describe("identity's database", () => {
  it.each([
    ["a role that is none", { role: "superuser" }],
    ["staff of no partner", { role: "partner" }],
    ["a customer of a partner", { partner_id: newId() }],
    ["a customer who is a partner's admin", { partner_admin: true }],
    ["a phone that is no E.164 number", { phone: "0791234567" }],
    ["a name of 101 letters", { first_name: "x".repeat(101) }],
    ["an empty name", { first_name: "" }],
    ["a language of 36 characters", { language: "x".repeat(36) }],
    ["a birth before 1900", { birth_date: "1899-12-31" }],
  ])("refuses a profile with %s", async (_name, more) => {
    await expect(insert("profiles", profile(more))).rejects.toMatchObject({ code: CHECK });
  });

  it("refuses a second profile with the same address", async () => {
    const first = profile();
    await insert("profiles", first);
    await expect(insert("profiles", profile({ email: first.email }))).rejects.toMatchObject({ code: UNIQUE });
  });

  it("migrates down to an empty schema and up again", async () => {
    const another = await createDatabase("identity");
    await migrateDown("identity", another.url);
    const left = await query(
      another.url,
      "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_name !~ '^knex_'",
    );
    expect(left).toEqual([]);
    const { applied } = await migrate("identity", another.url);
    expect(applied).toContain("0004_built_in_provider.ts");
    await another.drop();
  });
});
