import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import pg from "pg";
import { newId } from "../../lib/ids.ts";
import { parseMessage } from "../../mixins/consumer/parse-message.ts";
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

describe("migrations that several processes start at once", () => {
  it("are run by one of them, while the others wait and then have nothing to do", async () => {
    const database = await createDatabase("orders");
    await migrateDown("orders", database.url);
    const done = await Promise.all([1, 2, 3].map(() => migrate("orders", database.url)));
    expect(done.map(({ applied }) => applied.length > 0).sort()).toEqual([false, false, true]);
    await database.drop();
  });
});

describe("the migration that announces partner staff again", () => {
  it("publishes each confirmed member with the partner, as a valid message with a higher version", async () => {
    const database = await createDatabase("identity");
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    try {
      await client.query("DELETE FROM knex_migrations WHERE name ~ '^0121_'");
      const partnerId = newId();
      const insert = `INSERT INTO profiles (id, email, email_confirmed, first_name, last_name, language, role, partner_id,
        suspended_at, version) VALUES ($1, $2, $3, 'Zoë', 'B', 'de', $4, $5, $6, 3)`;
      const [active, suspended] = [newId(), newId()];
      await client.query(insert, [active, "a@x.org", true, "partner", partnerId, null]);
      await client.query(insert, [suspended, "b@x.org", true, "partner", partnerId, new Date()]);
      await client.query(insert, [newId(), "c@x.org", false, "partner", partnerId, null]);
      await client.query(insert, [newId(), "d@x.org", true, "customer", null, null]);
      await migrate("identity", database.url);
      const { rows } = await client.query("SELECT * FROM outbox ORDER BY data ->> 'email'");
      const user = { version: 4, firstName: "Zoë", language: "de", role: "partner", partnerId };
      expect(rows.map(({ data }) => data)).toEqual([
        { ...user, userId: active, email: "a@x.org" },
        { ...user, userId: suspended, email: "b@x.org", suspended: true },
      ]);
      for (const { id, time, type, dataschema, source, subject, data } of rows) {
        const message = {
          specversion: "1.0",
          id,
          time,
          type,
          dataschema,
          source,
          subject,
          data,
        };
        expect(parseMessage(message, Date.now(), 86_400_000)).toMatchObject({ id });
      }
    } finally {
      await client.end();
      await database.drop();
    }
  });
});

describe("the migration that bounds sums", () => {
  it("with a row beyond the limit, lets the platform start, refuses new ones and limits the other tables", async () => {
    const database = await createDatabase("orders");
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    try {
      for (const table of ["orders", "order_lines", "payment_receipts", "refunds"]) {
        await client.query(`ALTER TABLE ${table} DROP CONSTRAINT IF EXISTS ${table}_sums_bounded`);
      }
      await client.query("DELETE FROM knex_migrations WHERE name ~ '^003[01]_'");
      const bank =
        "INSERT INTO banks (id, title, adapter, settings, webcheckout_url, active) VALUES ($1, 'b', 'b', '', '', true)";
      const bankId = newId();
      await client.query(bank, [bankId]);
      const receipt = (paymentId: string) =>
        client.query(
          `INSERT INTO payment_receipts (id, bank_id, payment_id, event_id, stated_order, amount_minor, currency, outcome)
           VALUES ($1, $2, $3, 'e', 'o', 9007199254740992, 'EUR', 'unmatched')`,
          [newId(), bankId, paymentId],
        );
      await receipt("before");
      const { applied } = await migrate("orders", database.url);
      expect(applied).toEqual(["0030_bounded_sums.ts", "0031_validated_sums.ts"]);
      const { rows } = await client.query(
        "SELECT conname, convalidated FROM pg_constraint WHERE conname LIKE '%_sums_bounded' ORDER BY 1",
      );
      expect(rows).toEqual([
        { conname: "order_lines_sums_bounded", convalidated: true },
        { conname: "orders_sums_bounded", convalidated: true },
        { conname: "payment_receipts_sums_bounded", convalidated: false },
        { conname: "refunds_sums_bounded", convalidated: true },
      ]);
      await expect(receipt("after")).rejects.toMatchObject({ constraint: "payment_receipts_sums_bounded" });
    } finally {
      await client.end();
      await database.drop();
    }
  });
});
