import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { eventually } from "../support/eventually.ts";
import { type PartnersHarness, startPartners } from "../support/partners.ts";
import { createDatabase, type TestDatabase } from "../support/postgres.ts";

const PRODUCTS = 450;

let database: TestDatabase;
let shop: PartnersHarness;
beforeAll(async () => {
  database = await createDatabase("partners");
});
afterAll(async () => {
  await shop.stop();
  await database.drop();
});

describe("products with search words of older rules", () => {
  it("are found by the present rules after the next start, with unchanged content", async () => {
    const before = await startPartners({ url: database.url });
    const { id: partnerId } = await before.openPartner();
    const { productId } = await before.product(partnerId, { title: "红烧牛肉面", description: "Straße" });
    // As the release before wrote them, and more of them than one batch holds.
    await before.sql("UPDATE products SET words = ARRAY['红烧牛肉面', 'straße'] WHERE id = $1", [productId]);
    await before.sql(
      `INSERT INTO products (id, title, owner_partner_id, words)
       SELECT gen_random_uuid(), 'Łosoś ' || n, $1, ARRAY['łosoś', n::text] FROM generate_series(1, $2::int) n`,
      [partnerId, PRODUCTS],
    );
    const find = async (harness: PartnersHarness, q: string) =>
      (await harness.as({ role: "customer" }, "partners.listOffers", { partnerId, q })).items;
    expect(await find(before, "牛肉面")).toEqual([]);
    await before.stop();

    shop = await startPartners({ url: database.url });
    await eventually(async () => {
      expect(await find(shop, "牛肉面")).toMatchObject([{ productId, title: "红烧牛肉面" }]);
      const left = await shop.sql("SELECT 1 FROM products WHERE words[1] IS DISTINCT FROM '#2'");
      expect(left).toEqual([]);
    });
    expect(await find(shop, "strasse")).toHaveLength(1);
    const [, ...last] = await shop.sql<{ words: string[]; version: number; touched: boolean }>(
      `SELECT words, version, updated_at > created_at AS touched FROM products
       WHERE title IN ('Łosoś 1', 'Łosoś ${PRODUCTS}') ORDER BY title`,
    );
    expect(last).toEqual([{ words: ["#2", "losos", String(PRODUCTS)], version: 1, touched: false }]);
  });
});
