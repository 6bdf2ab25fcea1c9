import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import type { Database } from "../../lib/sql/database.ts";
import { up as copy } from "../../migrations/orders/0120_order_lists.ts";
import { up as rewrite } from "../../migrations/orders/0121_partner_words.ts";
import { eraseOrders } from "../../services/orders/store/erasure.repository.ts";
import { matchingOrders } from "../../services/orders/store/order-search.repository.ts";
import { asKnex, createDatabase, openPool, type TestDatabase } from "../support/postgres.ts";

const BANK = newId();
const PARTNER = newId();

let database: TestDatabase;
let db: Database;
beforeAll(async () => {
  database = await createDatabase("orders");
  db = openPool(database, 1);
  await db.query(
    `INSERT INTO banks (id, title, adapter, settings, webcheckout_url, active)
     VALUES (?, 'Bank', 'sandbox', 's', 'http://bank.example', true)`,
    [BANK],
  );
});
afterAll(async () => {
  await db.close();
  await database.drop();
});

async function insertEndedOrder(name: string, phone: string): Promise<string> {
  const id = newId();
  await db.query(
    `INSERT INTO orders (id, version, status, payment_status, customer_id, customer_name, customer_phone, partner_id,
       partner, currency, fee_minor, total_minor, address, bank_id, pay_by, closed_at, created_at, updated_at)
     VALUES (?, 2, 'expired', 'unpaid', ?, ?, ?, ?, '{}', 'EUR', 0, 100, '{}', ?, now(), now(), now(), now())`,
    [id, newId(), name, phone, PARTNER, BANK],
  );
  return id;
}

describe("the search words of an order", () => {
  it("are written with the order, also for names with accents and in other scripts", async () => {
    const zoe = await insertEndedOrder("Zoë Müller", "+4915100000001");
    const anna = await insertEndedOrder("Анна Ковалёва", "+992900000001");
    expect(await matchingOrders(db, "MULLER zoe")).toEqual([zoe]);
    expect(await matchingOrders(db, "+49151000")).toEqual([zoe]);
    expect(await matchingOrders(db, "анна", PARTNER)).toEqual([anna]);
    expect(await matchingOrders(db, "анна", newId())).toEqual([]);
    expect(await matchingOrders(db, "partner")).toEqual([]);
  });

  it("go with the customer's data when these are erased", async () => {
    const id = await insertEndedOrder("Berta Erasable", "+4915100000002");
    expect(await matchingOrders(db, "erasable")).toEqual([id]);
    await eraseOrders(db, [id]);
    expect(await matchingOrders(db, "erasable")).toEqual([]);
    expect(await matchingOrders(db, "4915100000002")).toEqual([]);
  });

  it("are not looked at for an order's number, which finds the orders of each partner that have it", async () => {
    const [one, other] = [
      await insertEndedOrder("Emil One", "+4915100000005"),
      await insertEndedOrder("Emil Two", "+4915100000006"),
    ];
    await db.query("UPDATE orders SET number = 'K7-042' WHERE id = ?", [one]);
    await db.query("UPDATE orders SET number = 'K7-042', partner_id = ? WHERE id = ?", [newId(), other]);
    expect((await matchingOrders(db, " k7-042 ")).sort()).toEqual([one, other].sort());
    expect(await matchingOrders(db, "K7-042", PARTNER)).toEqual([one]);
    expect(await matchingOrders(db, "K7-043")).toEqual([]);
  });

  it("are deleted with the order", async () => {
    const [gone, kept] = [
      await insertEndedOrder("Carla Deleted", "+4915100000003"),
      await insertEndedOrder("Dora Deleted", "+4915100000004"),
    ];
    await db.query("DELETE FROM orders WHERE id = ?", [gone]);
    expect(await matchingOrders(db, "deleted")).toEqual([kept]);
    expect((await db.query("SELECT FROM order_search WHERE order_id = ?", [gone])).rowCount).toBe(0);
  });

  it("of orders from before the migrations are copied by them, and a second run changes nothing", async () => {
    await db.query("ALTER TABLE orders DISABLE TRIGGER USER");
    const id = await insertEndedOrder("Clara Former", "+4915100000003");
    await db.query("ALTER TABLE orders ENABLE TRIGGER USER");
    expect(await matchingOrders(db, "clara")).toEqual([]);
    for (let runs = 0; runs < 2; runs++) {
      await copy(asKnex(db));
      await rewrite(asKnex(db));
    }
    expect(await matchingOrders(db, "clara former", PARTNER)).toEqual([id]);
  });
});
