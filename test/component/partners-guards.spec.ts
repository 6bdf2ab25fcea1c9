import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { eventually } from "../support/eventually.ts";
import { lineOf, orderOf, type PartnersHarness, reservationOf, startPartners } from "../support/partners.ts";

/* Guards of the stock that another guard hides, or that no other circumstance reaches. */

let shop: PartnersHarness;
beforeAll(async () => {
  shop = await startPartners();
});
afterAll(() => shop.stop());

async function wantedPieces(stock: number, quantity: number) {
  const partner = await shop.openPartner();
  const offer = await shop.product(partner.id, { stock });
  return { partner, offer, wanted: reservationOf(partner, [lineOf(offer, quantity)]) };
}

async function stockOf(productId: string): Promise<number | undefined> {
  const sql = "SELECT stock FROM availability WHERE product_id = $1";
  const [found] = await shop.sql<{ stock: number }>(sql, [productId]);
  return found?.stock;
}

describe("a reservation", () => {
  it("of an offer that went off sale after the check, is refused and takes nothing", async () => {
    const { partner, offer, wanted } = await wantedPieces(5, 2);
    await shop.asAdmin("partners.setAvailability", {
      ...{ partnerId: partner.id, productId: offer.productId, price: offer.price, active: false },
    });
    await expect(shop.bare("partners.reserve", wanted)).rejects.toMatchObject({
      type: "QUOTE_CHANGED",
      data: { lines: [{ productId: offer.productId, quantity: 2 }] },
    });
    expect(await stockOf(offer.productId)).toBe(5);
  });

  it("of a partner whose verification was withdrawn after the check, is refused and takes nothing", async () => {
    const { partner, offer, wanted } = await wantedPieces(5, 2);
    await shop.asAdmin("partners.update", { partnerId: partner.id, verified: false });
    await expect(shop.bare("partners.reserve", wanted)).rejects.toMatchObject({ type: "PARTNER_CLOSED" });
    expect(await stockOf(offer.productId)).toBe(5);
  });

  it("that a deadlock broke off, is tried again and takes the pieces once", async () => {
    const { offer, wanted } = await wantedPieces(5, 2);
    await shop.sql("CREATE SEQUENCE broken_off");
    await shop.sql(`CREATE FUNCTION break_off() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN
        IF nextval('broken_off') = 1 THEN RAISE 'deadlock detected' USING ERRCODE = '40P01'; END IF;
        RETURN NEW;
      END $$`);
    await shop.sql(`CREATE TRIGGER break_off BEFORE UPDATE ON availability
      FOR EACH ROW EXECUTE FUNCTION break_off()`);
    try {
      await shop.bare("partners.reserve", wanted);
      expect(await shop.sql("SELECT last_value::integer AS tries FROM broken_off")).toEqual([{ tries: 2 }]);
    } finally {
      await shop.sql("DROP FUNCTION break_off CASCADE");
    }
    expect(await stockOf(offer.productId)).toBe(3);
  });

  it("that is committed, keeps its pieces when somebody gives up the confirmation late", async () => {
    const { offer, wanted } = await wantedPieces(5, 2);
    await shop.bare("partners.reserve", wanted);
    await shop.say("order.paid", orderOf(wanted));
    const state = () =>
      shop.sql("SELECT state FROM stock_reservations WHERE order_id = $1", [wanted.orderId]);
    await eventually(async () => expect(await state()).toEqual([{ state: "committed" }]));
    await shop.bare("partners.release", { orderId: wanted.orderId });
    expect(await state()).toEqual([{ state: "committed" }]);
    expect(await stockOf(offer.productId)).toBe(3);
  });
});
