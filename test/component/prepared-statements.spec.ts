import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { type Database, row, rows, rowsPlannedAnew } from "../../lib/sql/database.ts";
import { lockDeadLetter } from "../../mixins/consumer/dead-letters.repository.ts";
import { listOrders } from "../../services/orders/store/order-lists.repository.ts";
import { findOrder } from "../../services/orders/store/orders.repository.ts";
import { createDatabase, openPool, type TestDatabase } from "../support/postgres.ts";

let database: TestDatabase;
/** Over one connection, so that every statement meets what the one before has left there. */
let db: Database;

beforeAll(async () => {
  database = await createDatabase("orders");
  db = openPool(database, 1);
});
afterAll(async () => {
  await db.close();
  await database.drop();
});

const preparedOf = async (like: string) => {
  const { rows: found } = await db.query(
    "SELECT generic_plans + custom_plans AS plans FROM pg_prepared_statements WHERE statement LIKE ?",
    [`${like}%`],
  );
  return (found as { plans: number }[]).map(({ plans }) => plans);
};

describe("statements", () => {
  it("that are repeated are prepared once by their connection, with any values", async () => {
    for (const value of [1, 2, 3]) {
      expect(await row(db, "SELECT ?::int AS again", [value])).toEqual({ again: value });
    }
    expect(await preparedOf("SELECT $1::int AS again")).toEqual([3]);
  });

  it("whose best plan depends on their values are planned each time", async () => {
    for (const value of [1, 2]) {
      expect(await rowsPlannedAnew(db, "SELECT ?::int AS anew", [value])).toEqual([{ anew: value }]);
    }
    expect(await preparedOf("SELECT $1::int AS anew")).toEqual([]);
  });

  it("still work after a migration adds columns while their service runs", async () => {
    const asked = () =>
      Promise.all([
        findOrder(db, newId(), { role: "anybody" }),
        listOrders(db, { role: "admin" }, { limit: 1 }),
        lockDeadLetter(db, newId()),
      ]);
    await asked();
    await db.query("ALTER TABLE orders ADD COLUMN later text");
    await db.query("ALTER TABLE inbox ADD COLUMN later text");
    expect(await asked()).toEqual([undefined, [], undefined]);
  });

  it("with all columns of a table would fail then, so none exists", async () => {
    const sql = "SELECT * FROM order_lines";
    await rows(db, sql);
    await db.query("ALTER TABLE order_lines ADD COLUMN later text");
    await expect(rows(db, sql)).rejects.toThrow("cached plan must not change result type");
  });
});
