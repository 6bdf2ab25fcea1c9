import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { type Database, type Db, rows, type Transaction } from "../../lib/sql/database.ts";
import { searchQuery } from "../../services/partners/domain/search-words.ts";
import { listOffers, type OfferFilter } from "../../services/partners/store/offers.repository.ts";
import {
  findOwnProduct,
  lockProductsWithOutdatedWords,
} from "../../services/partners/store/products.repository.ts";
import { returnStock, takeStock } from "../../services/partners/store/reservations.repository.ts";
import { listDeliveries } from "../../services/partners/store/webhook-deliveries.repository.ts";
import { claimAttempts } from "../../services/partners/store/webhook-queue.repository.ts";
import { explain } from "../support/explain.ts";
import { createDatabase, openPool, type TestDatabase } from "../support/postgres.ts";

const PRODUCTS = 100_000;
const PARTNERS = 200;
const PAGE = 21;

let database: TestDatabase;
let db: Database;
let partners: string[];
let middle: { productId: string; partnerId: string };

beforeAll(async () => {
  database = await createDatabase("partners");
  db = openPool(database, 2);
  await db.query("SET statement_timeout = '60s'");
  for (const table of ["partners", "products", "availability", "webhook_messages", "webhook_deliveries"]) {
    await db.query(`ALTER TABLE ${table} SET (autovacuum_enabled = false)`);
  }
  await load(0, 1_000);
  await db.query("ANALYZE");
  await load(1_000, PRODUCTS);
  partners = (await rows<{ id: string }>(db, "SELECT id FROM partners ORDER BY id")).map(({ id }) => id);
  await queue(partners[0] as string, 20_000);
  await db.query(
    `INSERT INTO stock_reservations (order_id, partner_id, state, expires_at)
     SELECT gen_random_uuid(), ?, 'held', now() FROM generate_series(1, 10000)`,
    [partners[0]],
  );
  const found = await rows<typeof middle>(
    db,
    "SELECT product_id, partner_id FROM availability ORDER BY product_id OFFSET ? LIMIT 1",
    [PRODUCTS / 2],
  );
  middle = found[0] as typeof middle;
});
afterAll(async () => {
  await db.close();
  await database.drop();
});

/** Products from one number to another, each offered by one of the partners; every thousandth is a truffle. */
async function load(from: number, to: number): Promise<void> {
  await db.query(
    `INSERT INTO partners (id, title, phone, email, address, currency, delivery_fee_minor, preparation_minutes,
       proof, verified)
     SELECT ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'Partner ' || n, '+41315550100',
       'a@b.example', '{}', 'EUR', 300, 15, 'pin', true
     FROM generate_series(1, ?) n ON CONFLICT DO NOTHING`,
    [PARTNERS],
  );
  await db.query(
    `WITH made AS (
       INSERT INTO products (id, title, owner_partner_id, words)
       SELECT md5(n::text)::uuid, 'Product ' || n,
         ('00000000-0000-7000-8000-' || lpad((1 + n % ${PARTNERS})::text, 12, '0'))::uuid,
         ARRAY['product', 'n' || n, 'c' || n % 50] || CASE WHEN n % 1000 = 0 THEN ARRAY['truffle'] END
           || CASE WHEN n % 50 = 7 THEN ARRAY['牛肉'] END || CASE WHEN n % 1000 = 7 THEN ARRAY['肉面', '面'] END
       FROM generate_series(?::int, ?::int - 1) n RETURNING id, owner_partner_id
     )
     INSERT INTO availability (partner_id, product_id, price_minor, currency, stock)
     SELECT owner_partner_id, id, 450, 'EUR', 10 FROM made`,
    [from, to],
  );
}

/** A long queue of one partner whose system is down. */
async function queue(partnerId: string, length: number): Promise<void> {
  await db.query(
    `WITH made AS (
       INSERT INTO webhook_messages (id, partner_id, message_id, type, urgency, body)
       SELECT gen_random_uuid(), ?, n::text, 'order.paid', 'preparation', '{}' FROM generate_series(1, ?) n
       RETURNING id, partner_id
     )
     INSERT INTO webhook_deliveries (id, webhook_message_id, partner_id, attempt, state, due_at)
     SELECT gen_random_uuid(), id, partner_id, 1, 'pending', now() - interval '1 minute' FROM made`,
    [partnerId, length],
  );
}

const line = (productId: string) => ({
  ...{ productId, title: "Product", quantity: 1 },
  unitPrice: { amountMinor: 450, currency: "EUR" },
});

describe.each(["stale", "fresh"])("at 100,000 products, with %s statistics", (statistics) => {
  beforeAll(async () => {
    if (statistics === "fresh") await db.query("ANALYZE");
  });

  const lists: [string, () => Partial<OfferFilter>, number][] = [
    ["the first page", () => ({}), 300],
    ["a page in the middle", () => ({ after: middle }), 300],
    ["one partner's page", () => ({ partnerId: partners[7] }), 300],
    ["one partner's second page", () => ({ partnerId: middle.partnerId, after: middle }), 300],
    ["a rare word", () => ({ search: searchQuery("truff") }), 1_000],
    ["a single product's word", () => ({ search: searchQuery("n77777") }), 500],
    ["a word of every product", () => ({ search: searchQuery("product") }), 1_000],
    ["a word of every fiftieth product", () => ({ search: searchQuery("c7") }), 15_000],
    ["a part of a word without spaces", () => ({ search: searchQuery("牛肉面") }), 1_000],
    ["one character of it", () => ({ search: searchQuery("面") }), 1_000],
    ["a rare word at one partner", () => ({ search: searchQuery("truff"), partnerId: partners[1] }), 1_200],
  ];
  it.each(lists)("the list by %s reads only the rows of the page", async (_, filter, mostPages) => {
    const one = { publicOnly: true, limit: PAGE, ...filter() };
    const { pages } = await explain(db, (explaining) => listOffers(explaining, one));
    expect(pages).toBeLessThan(mostPages);
  });

  it("a reservation of three lines reads only their rows", async () => {
    const partnerId = middle.partnerId;
    const own = await rows<{ productId: string }>(
      db,
      "SELECT product_id FROM availability WHERE partner_id = ? LIMIT 3",
      [partnerId],
    );
    const lines = own.map(({ productId }) => line(productId));
    const wanted = { orderId: newId(), partnerId, lines, feeMinor: 300, currency: "EUR" };
    const expiresAt = new Date(Date.now() + 60_000).toISOString();
    const { pages, scanned } = await explain(db, (explaining) =>
      takeStock(explaining, { ...wanted, expiresAt }),
    );
    expect(scanned.filter((table) => table !== "partners")).toEqual([]);
    expect(pages).toBeLessThan(100);
    const back = await explain(db, (explaining) => returnStock(explaining, wanted.orderId));
    expect(back.pages).toBeLessThan(50);
  });

  it("a partner's own product, and its copy of another product, are found by their ids", async () => {
    for (const id of [middle.productId, newId()]) {
      const { pages } = await explain(db, (explaining) =>
        findOwnProduct(explaining, middle.partnerId, id, "FOR UPDATE"),
      );
      expect(pages).toBeLessThan(20);
    }
  });

  it("recomputing search words reads only the rows of its batch", async () => {
    const { pages, scanned } = await explain(db, (explaining) =>
      lockProductsWithOutdatedWords(explaining, 200),
    );
    expect(scanned).toEqual([]);
    expect(pages).toBeLessThan(1_500);
  });

  it("claiming webhooks beside a queue of 20,000 reads only the claimed rows", async () => {
    const claim = { leaseId: newId(), leaseMs: 1_000, perPartner: 4, limit: 200, furtherLimit: 100 };
    const { pages, scanned } = await explain(db, (explaining) =>
      claimAttempts(explaining as unknown as Transaction, claim),
    );
    expect(scanned.filter((table) => table !== "partners")).toEqual([]);
    expect(pages).toBeLessThan(500);
  });

  it("the log of a partner with 20,000 tries is read by pages", async () => {
    const read = (explaining: Db) =>
      listDeliveries(explaining, { partnerId: partners[0] as string, limit: PAGE });
    const { pages } = await explain(db, read);
    expect(pages).toBeLessThan(statistics === "fresh" ? 200 : 1_000); // a table never analysed is sorted once
  });
});
