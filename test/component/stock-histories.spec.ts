import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import pg from "pg";
import { withoutNewestWins } from "../histories/planted.ts";
import { stockRaces } from "../histories/stock-races.ts";
import { eventually } from "../support/eventually.ts";
import { lineOf, type PartnersHarness, reservationOf, startPartners } from "../support/partners.ts";

const ORDERS = Number(process.env.STOCK_ORDERS ?? 100);
const SEED = Number(process.env.SEED ?? Date.now() % 1_000_000);
const FAULTY_RACES_MAX = 10;
const TIMEOUT_MS = 300_000 + ORDERS * 100;

let shop: PartnersHarness;
beforeAll(async () => {
  shop = await startPartners();
});
afterAll(() => shop.stop());

describe("a reservation that waits for returned pieces", () => {
  it("uses the stock after the wait, although it was too small before", async () => {
    const partner = await shop.openPartner();
    const offer = await shop.product(partner.id, { stock: 1 });
    const client = new pg.Client({ connectionString: shop.url });
    await client.connect();
    await client.query("BEGIN");
    await client.query("UPDATE availability SET stock = 5 WHERE product_id = $1", [offer.productId]);
    const reserved = shop.bare("partners.reserve", reservationOf(partner, [lineOf(offer, 3)]));
    reserved.catch(() => undefined);
    await eventually(async () => {
      const waiting = await shop.sql(
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
      );
      expect(waiting).toHaveLength(1);
    });
    await client.query("COMMIT");
    await client.end();
    await expect(reserved).resolves.toMatchObject({ id: partner.id });
    const left = await shop.sql("SELECT stock::integer FROM availability WHERE product_id = $1", [
      offer.productId,
    ]);
    expect(left).toEqual([{ stock: 2 }]);
  });
});

describe("the pieces that many orders want at once", () => {
  it(
    "are on sale or reserved, none twice and none lost, and the newest message of each order decides",
    async () => {
      let reserved = 0;
      for (let begun = 0; begun < ORDERS; begun += 50) {
        const report = await stockRaces(shop, { orders: 50, seed: SEED + begun });
        expect({ seed: SEED + begun, violations: report.violations }).toEqual({
          seed: SEED + begun,
          violations: [],
        });
        reserved += report.reserved;
      }
      expect(reserved).toBeGreaterThan(ORDERS / 10);
    },
    TIMEOUT_MS,
  );

  it("are found wrong by the checker when old messages replace new ones", async () => {
    // Orders, asked before pieces are taken again, would tell what is newest.
    shop.orderIs(async () => ({ status: "paid", version: 2 }));
    await withoutNewestWins(async () => {
      for (let seed = 1; seed <= FAULTY_RACES_MAX; seed += 1) {
        const { violations } = await stockRaces(shop, { orders: 50, seed });
        if (violations.length > 0) return;
      }
      throw new Error("nothing was found");
    }).finally(() => shop.orderIs());
  });

  it("are found wrong by the checker when an old stock overwrites reservations", async () => {
    for (let seed = 1; seed <= FAULTY_RACES_MAX; seed += 1) {
      const { violations } = await stockRaces(shop, { orders: 50, seed, blindly: true });
      if (violations.length > 0) return;
    }
    throw new Error("nothing was found");
  });
});
