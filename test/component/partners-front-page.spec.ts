import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { eventually } from "../support/eventually.ts";
import { euro, type PartnersHarness, startPartners } from "../support/partners.ts";

const CUSTOMER = { role: "customer" } as const;
let shop: PartnersHarness;

beforeAll(async () => {
  shop = await startPartners();
});
afterAll(() => shop.stop());

describe("the first page of a partner's offers", () => {
  it("read again, is returned from the cache, and after a change from the database", async () => {
    const { id: partnerId } = await shop.openPartner();
    const { productId } = await shop.product(partnerId, { price: euro(450) });
    const prices = async () => {
      const { items } = await shop.as(CUSTOMER, "partners.listOffers", { partnerId });
      return items.map(({ price }) => price.amountMinor);
    };
    await eventually(async () => expect(await prices()).toEqual([450]));

    // A change in the database without the service distinguishes a cached page from one that is read.
    await shop.sql("UPDATE availability SET price_minor = 999 WHERE product_id = $1", [productId]);
    expect(await prices()).toEqual([450]);

    await shop.asAdmin("partners.setAvailability", { partnerId, productId, price: euro(500), active: true });
    await eventually(async () => expect(await prices()).toEqual([500]));
  });

  it("cached for customers, is not returned without authentication, and staff see inactive offers", async () => {
    const { id: partnerId } = await shop.openPartner();
    const { productId } = await shop.product(partnerId);
    await shop.asAdmin("partners.setAvailability", { partnerId, productId, price: euro(500), active: false });
    await eventually(async () => {
      expect(await shop.as(CUSTOMER, "partners.listOffers", { partnerId })).toEqual({ items: [] });
    });
    await expect(shop.bare("partners.listOffers", { partnerId })).rejects.toMatchObject({
      type: "UNAUTHENTICATED",
    });
    const own = await shop.as({ role: "partner", partnerId }, "partners.listOffers", { partnerId });
    expect(own.items.map((offer) => offer.productId)).toEqual([productId]);
  });
});
