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
  const long = "x".repeat(501);
  const paid = { status: "preparing", paid_minor: 1000 };
  it.each<[string, object]>([
    ["orders_address_check", { address: "[]" }],
    ["orders_carried_by_somebody", { status: "delivering", paid_minor: 1000 }],
    ["orders_check", { total_minor: 0, fee_minor: 0 }],
    ["orders_check", { total_minor: 99 }],
    ["orders_checkout_ref_check", { checkout_ref: "" }],
    ["orders_checkout_url_check", { checkout_url: "x".repeat(2_049) }],
    ["orders_currency_check", { currency: "euro" }],
    ["orders_customer_name_check", { customer_name: "" }],
    ["orders_customer_phone_check", { customer_phone: "1".repeat(17) }],
    ["orders_deadline_error_length", { deadline_error: long }],
    ["orders_deadline_failures_count", { deadline_failures: -1 }],
    ["orders_end_or_wait", { status: "cancelled", deadline_at: null }],
    ["orders_end_or_wait", { status: "cancelled", closed_at: now }],
    ["orders_end_or_wait", { deadline_at: null }],
    ["orders_end_or_wait", { closed_at: now }],
    ["orders_fee_minor_check", { fee_minor: -1 }],
    ["orders_handover_failures_check", { handover_failures: 6 }],
    ["orders_last_actor_check", { last_actor: long }],
    ["orders_last_move_check", { last_move: "x".repeat(41) }],
    ["orders_money_conserved", { paid_minor: 10, refunded_minor: 6, refund_pending_minor: 5 }],
    ["orders_note_check", { note: long }],
    ["orders_notice_problem_length", { notice_problem: long }],
    ["orders_number_length", { number: "1".repeat(13) }],
    ["orders_paid_before_kitchen", { status: "preparing", paid_minor: 999 }],
    ["orders_paid_minor_check", { paid_minor: -1, refunded_minor: -1 }],
    ["orders_partner_check", { partner: "[]" }],
    ["orders_payment_status_check", { payment_status: "free" }],
    ["orders_pickup_latitude_check", { pickup_latitude: 91 }],
    ["orders_pickup_longitude_check", { pickup_longitude: -181 }],
    ["orders_proof_photo_id_check", { proof_photo_id: long }],
    ["orders_reason_check", { reason: long }],
    ["orders_reconcile_error_check", { reconcile_error: long }],
    ["orders_reconcile_failures_count", { reconcile_failures: -1 }],
    ["orders_reconcile_looks_check", { reconcile_looks: -1 }],
    ["orders_refund_failed_minor_check", { refund_failed_minor: -1 }],
    ["orders_refund_pending_minor_check", { refund_pending_minor: -1 }],
    ["orders_refunded_minor_check", { refunded_minor: -1 }],
    ["orders_status_check", { status: "lost" }],
    ["orders_sums_bounded", { paid_minor: "9007199254740992" }],
    ["orders_traceparent_check", { traceparent: long }],
    ["orders_version_check", { version: 0 }],
  ])("refuses by the rule %s an order with %j, new or changed", async (constraint, more) => {
    const refused = { code: CHECK, constraint };
    await expect(insert("orders", order(more))).rejects.toMatchObject(refused);
    const one = order();
    await insert("orders", one);
    const columns = Object.keys(more).map((column, index) => `${column} = $${index + 2}`);
    const update = `UPDATE orders SET ${columns.join(", ")} WHERE id = $1`;
    await expect(query(database.url, update, [one.id, ...Object.values(more)])).rejects.toMatchObject(
      refused,
    );
  });

  it("takes an order whose optional columns are empty, and one that was paid", async () => {
    await insert("orders", order());
    await insert("orders", order(paid));
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
