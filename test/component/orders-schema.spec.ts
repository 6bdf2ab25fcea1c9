import { readdirSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { migrate, migrateDown, migrationsFolder } from "../../platform/migrate.ts";
import { createDatabase, type TestDatabase } from "../support/postgres.ts";
import { query } from "../support/sql.ts";

const CHECK = "23514";
const UNIQUE = "23505";
const FOREIGN = "23503";

let database: TestDatabase;
const bankId = newId();
beforeAll(async () => {
  database = await createDatabase("orders");
  await insert("banks", {
    id: bankId,
    title: "Bank",
    adapter: "sandbox",
    settings: "",
    webcheckout_url: "",
    active: true,
  });
});
afterAll(() => database.drop());

function insert(table: string, values: Record<string, unknown>): Promise<unknown> {
  const columns = Object.keys(values);
  const places = columns.map((_, index) => `$${index + 1}`).join(", ");
  const sql = `INSERT INTO ${table} (${columns.join(", ")}) VALUES (${places})`;
  return query(database.url, sql, Object.values(values));
}

const now = new Date().toISOString();
const order = (more: object = {}) => ({
  id: newId(),
  version: 1,
  status: "pending",
  payment_status: "unpaid",
  customer_id: newId(),
  customer_name: "Ada",
  partner_id: newId(),
  partner: "{}",
  currency: "EUR",
  fee_minor: 100,
  total_minor: 1000,
  address: "{}",
  bank_id: bankId,
  pay_by: now,
  deadline_at: now,
  created_at: now,
  updated_at: now,
  ...more,
});
const receipt = (more: object = {}) => ({
  id: newId(),
  bank_id: bankId,
  payment_id: newId(),
  event_id: newId(),
  stated_order: "?",
  amount_minor: 100,
  currency: "EUR",
  outcome: "unmatched",
  ...more,
});

describe("the orders' database", () => {
  it.each([
    ["a state that is none", { status: "lost" }],
    ["a payment status that is none", { payment_status: "maybe" }],
    ["a version below one", { version: 0 }],
    ["nothing to pay", { total_minor: 0, fee_minor: 0 }],
    ["a fee above the total", { fee_minor: 1001 }],
    ["a negative payment", { paid_minor: -1 }],
    ["more refunded than paid", { paid_minor: 10, refunded_minor: 6, refund_pending_minor: 5 }],
    ["a kitchen that cooks unpaid", { status: "preparing", paid_minor: 999 }],
    ["a delivery without a courier", { status: "delivering", paid_minor: 1000 }],
    ["an end without a time", { status: "cancelled", deadline_at: null }],
    ["a deadline after its end", { status: "cancelled", closed_at: now }],
    ["an open order without a deadline", { deadline_at: null }],
    ["an open order that is closed", { closed_at: now }],
    ["a sixth wrong PIN", { handover_failures: 6 }],
    ["a currency that is none", { currency: "euro" }],
    ["a note of 501 letters", { note: "x".repeat(501) }],
  ])("refuses an order with %s", async (_, more) => {
    await expect(insert("orders", order(more))).rejects.toMatchObject({ code: CHECK });
  });

  it("refuses a second order of a check and an order of an unknown bank", async () => {
    const one = order();
    await insert("orders", one);
    await expect(insert("orders", order({ id: one.id }))).rejects.toMatchObject({ code: UNIQUE });
    await expect(insert("orders", order({ bank_id: newId() }))).rejects.toMatchObject({ code: FOREIGN });
  });

  it("refuses a repeated payment, an empty one, a match without an order, and a refund above the payment", async () => {
    const one = receipt();
    await insert("payment_receipts", one);
    await expect(insert("payment_receipts", receipt({ payment_id: one.payment_id }))).rejects.toMatchObject({
      code: UNIQUE,
    });
    for (const wrong of [
      { amount_minor: 0 },
      { outcome: "accepted" },
      { refund_minor: 101 },
      { refund_minor: -1 },
    ]) {
      await expect(insert("payment_receipts", receipt(wrong))).rejects.toMatchObject({ code: CHECK });
    }
  });

  it("refuses a refund of no payment and two lines of history with one version", async () => {
    const { id } = order();
    await insert("orders", order({ id }));
    const refund = {
      id: newId(),
      order_id: id,
      bank_id: bankId,
      payment_id: "none",
      amount_minor: 1,
      currency: "EUR",
      reason: "r",
    };
    await expect(insert("refunds", refund)).rejects.toMatchObject({ code: FOREIGN });
    const line = { order_id: id, version: 1, type: "order.created", to_status: "pending", actor: "a" };
    await insert("order_transitions", { id: newId(), ...line });
    await expect(insert("order_transitions", { id: newId(), ...line })).rejects.toMatchObject({
      code: UNIQUE,
    });
  });

  it("migrates down to an empty schema and up again", async () => {
    const own = await createDatabase("orders");
    await migrateDown("orders", own.url);
    const left = await query<{ name: string }>(
      own.url,
      "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public'",
    );
    expect(left.filter(({ name }) => !name.startsWith("knex_"))).toEqual([]);
    const { applied } = await migrate("orders", own.url);
    expect(applied).toEqual(readdirSync(migrationsFolder("orders")).sort());
    await own.drop();
  });
});
