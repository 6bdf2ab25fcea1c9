import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { type Database, rows } from "../../lib/sql/database.ts";
import { down, up } from "../../migrations/partners/0061_own_products.ts";
import { returnStock } from "../../services/partners/store/reservations.repository.ts";
import { asKnex, createDatabase, openPool, type TestDatabase } from "../support/postgres.ts";

const PARTNERS = 4;
const PRODUCTS = 30;

let database: TestDatabase;
let db: Database;
const partners = Array.from({ length: PARTNERS }, () => newId());
const [owner, second] = partners as [string, string];
beforeAll(async () => {
  database = await createDatabase("partners");
  db = openPool(database, 4);
  for (const id of partners) {
    await db.query(
      `INSERT INTO partners (id, title, phone, email, address, currency, delivery_fee_minor, preparation_minutes, proof)
       VALUES (?, ?, '+41315550100', 'a@b.example', '{}', 'EUR', 300, 15, 'pin')`,
      [id, `Partner ${id}`],
    );
  }
});
afterAll(async () => {
  await db.close();
  await database.drop();
});

async function product(id: string, ownerId: string | null, offeredBy: readonly string[]): Promise<void> {
  await db.query(
    `INSERT INTO products (id, title, description, owner_partner_id, words)
     VALUES (?, 'Bread', 'Dark', ?, ARRAY['bread', 'dark'])`,
    [id, ownerId],
  );
  for (const [index, partnerId] of offeredBy.entries()) {
    await db.query(
      `INSERT INTO availability (partner_id, product_id, price_minor, currency, stock, created_at)
       VALUES (?, ?, ?, 'EUR', 10, now() + ? * interval '1 second')`,
      [partnerId, id, 100 + index, index],
    );
  }
}

async function reserved(orderId: string, partnerId: string, productId: string): Promise<void> {
  await db.query(
    `INSERT INTO stock_reservations (order_id, partner_id, state, expires_at) VALUES (?, ?, 'held', now())`,
    [orderId, partnerId],
  );
  await db.query(
    `INSERT INTO stock_reservation_lines (order_id, product_id, quantity, unit_price_minor, taken)
     VALUES (?, ?, 3, 100, 3)`,
    [orderId, productId],
  );
}

interface Offer {
  partnerId: string;
  productId: string;
  priceMinor: number;
  stock: number;
  ownerPartnerId: string;
  copiedFrom?: string;
  title: string;
  search: string;
}
const offersOf = (id: string) =>
  rows<Offer>(
    db,
    `SELECT a.partner_id, a.product_id, a.price_minor, a.stock, p.owner_partner_id, p.copied_from, p.title,
       p.search::text FROM availability a JOIN products p ON p.id = a.product_id
     WHERE p.id = ? OR p.copied_from = ? ORDER BY a.created_at`,
    [id, id],
  );

describe("the migration of products that partners share", () => {
  it("gives each partner its own, and moves the offer and the pieces of its orders there", async () => {
    await down(asKnex(db));
    const [shared, abandoned, lonely, own] = [newId(), newId(), newId(), newId()];
    await product(shared, owner, partners);
    await product(abandoned, null, [second, owner]);
    await product(lonely, null, [second]);
    await product(own, owner, [owner]);
    const [orderOfOwner, orderOfSecond] = [newId(), newId()];
    await reserved(orderOfOwner, owner, shared);
    await reserved(orderOfSecond, second, shared);

    await up(asKnex(db));

    const separated = await offersOf(shared);
    expect(separated.map(({ partnerId, priceMinor }) => [partnerId, priceMinor])).toEqual(
      partners.map((id, index) => [id, 100 + index]),
    );
    for (const [index, offer] of separated.entries()) {
      expect(offer).toMatchObject({ title: "Bread", search: "'bread' 'dark'", stock: 10 });
      expect(offer.ownerPartnerId).toBe(offer.partnerId);
      expect(offer.copiedFrom).toBe(index === 0 ? undefined : shared);
    }
    expect(separated[0]?.productId).toBe(shared);
    expect((await offersOf(abandoned)).map((one) => [one.ownerPartnerId, one.copiedFrom])).toEqual([
      [second, undefined],
      [owner, abandoned],
    ]);
    expect(await offersOf(lonely)).toMatchObject([{ ownerPartnerId: second, productId: lonely }]);
    expect(await offersOf(own)).toMatchObject([{ ownerPartnerId: owner, productId: own }]);

    for (const orderId of [orderOfOwner, orderOfSecond]) await returnStock(db, orderId);
    expect((await offersOf(shared)).map(({ stock }) => stock)).toEqual([13, 13, 10, 10]);
  });

  it("leaves a schema in which no partner can offer the product of another", async () => {
    const id = newId();
    await product(id, owner, [owner]);
    await expect(product(newId(), owner, [second])).rejects.toMatchObject({ code: "23503" });
    const offer = db.query(
      "INSERT INTO availability (partner_id, product_id, price_minor, currency) VALUES (?, ?, 1, 'EUR')",
      [second, id],
    );
    await expect(offer).rejects.toMatchObject({ code: "23503" });
  });

  it("loses no piece that orders give back while it runs", async () => {
    await down(asKnex(db));
    const shared = Array.from({ length: PRODUCTS }, () => newId());
    const orders = new Map<string, string>();
    for (const id of shared) {
      await product(id, owner, [owner, second]);
      const orderId = newId();
      orders.set(orderId, id);
      await reserved(orderId, second, id);
    }
    const backOnSale = [...orders.keys()].map((orderId) =>
      db.transaction(async (trx) => {
        await trx.query("SELECT 1 FROM stock_reservations WHERE order_id = ? FOR UPDATE", [orderId]);
        await returnStock(trx, orderId);
      }),
    );
    await Promise.all([up(asKnex(db)), ...backOnSale]);
    for (const id of shared) {
      expect((await offersOf(id)).map(({ partnerId, stock }) => [partnerId, stock])).toEqual([
        [owner, 10],
        [second, 13],
      ]);
    }
  });
});
