import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Params } from "../../contracts/actions.ts";
import type { Offer } from "../../contracts/partners.ts";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import { euro, type PartnersHarness, startPartners } from "../support/partners.ts";

let shop: PartnersHarness;
beforeAll(async () => {
  shop = await startPartners({ settings: { SANDBOX: false } });
});
afterAll(() => shop.stop());

const CUSTOMER = { role: "customer" } as const;
const staffOf = (partnerId: string) => ({ role: "partner", partnerId }) as const;

/** Every page of a list, the cursor followed to its end. */
async function all(params: Params<"partners.listOffers">, limit: number, between?: () => Promise<unknown>) {
  const found: Offer[] = [];
  let cursor: string | undefined;
  do {
    const page = await shop.as(CUSTOMER, "partners.listOffers", {
      ...params,
      limit,
      ...(cursor && { cursor }),
    });
    found.push(...page.items);
    cursor = page.nextCursor;
    await between?.();
  } while (cursor);
  return found;
}

describe("partners.listOffers", () => {
  it("by pages of any size, while products are added and changed, shows what was there once and in order", async () => {
    const [one, two] = [await shop.openPartner(), await shop.openPartner()];
    const word = `harvest${Date.now()}`;
    const before: Offer[] = [];
    for (let count = 0; count < 12; count++) {
      const { id } = count % 2 ? one : two;
      before.push(await shop.product(id, { title: `${word} ${count}` }));
    }
    const key = ({ productId, partnerId }: Offer) => `${productId} ${partnerId}`;
    for (const limit of [1, 5, 100]) {
      const added: Offer[] = [];
      const pages = await all({ q: word }, limit, async () => {
        if (limit === 5) added.push(await shop.product(one.id, { title: `${word} late` }));
        await shop.asAdmin("partners.setAvailability", {
          ...{ partnerId: before[3]?.partnerId ?? "", productId: before[3]?.productId ?? "" },
          ...{ price: euro(999), active: true },
        });
      });
      const seen = pages.map(key);
      expect(seen).toEqual([...new Set(seen)].sort());
      expect(seen).toEqual(expect.arrayContaining(before.map(key)));
      for (const { productId, partnerId } of added) {
        await shop.asAdmin("partners.deleteProduct", { productId, partnerId });
      }
    }
  });

  it("shows neither inactive offers nor those of partners that are disabled or not verified", async () => {
    const word = `hidden${Date.now()}`;
    const partner = await shop.openPartner();
    const [disabled, unverified] = [await shop.openPartner(), await shop.openPartner()];
    const active = await shop.product(partner.id, { title: word });
    const inactive = await shop.product(partner.id, { title: word });
    await shop.product(disabled.id, { title: word });
    await shop.product(unverified.id, { title: word });
    const { productId, partnerId, price } = inactive;
    await shop.asAdmin("partners.setAvailability", { productId, partnerId, price, active: false });
    await shop.asAdmin("partners.update", { partnerId: disabled.id, enabled: false });
    await shop.asAdmin("partners.update", { partnerId: unverified.id, verified: false });
    const seen = await all({ q: word }, 100);
    expect(seen.map((offer) => offer.productId)).toEqual([active.productId]);
    expect(seen[0]).not.toHaveProperty("active");
    const own = await shop.as(staffOf(partner.id), "partners.listOffers", {});
    expect(own.items).toHaveLength(2);
    const told = new Map(own.items.map((offer) => [offer.productId, offer.active]));
    expect([told.get(active.productId), told.get(inactive.productId)]).toEqual([true, false]);
  });

  it.each([
    ["the beginning of a word", "brûl", 1],
    ["other letters and no accents", "CREME brulee", 1],
    ["a word of the description", "vanilla", 1],
    ["words of two fields", "creme alpina", 1],
    ["a word that is not there", "creme chocolate", 0],
    ["the inside of a word", "rulee", 0],
    ["no word at all", "?!", 0],
    ["what looks like an operator", "creme & | !", 1],
    ["what looks like SQL", "'; DROP TABLE products; --", 0],
  ])("by %s: %s, finds %d", async (_, q, count) => {
    const partner = await shop.openPartner();
    const texts = { title: "Crème brûlée", brand: "Alpina", description: "With real vanilla" };
    await shop.product(partner.id, texts);
    const { items } = await shop.as(CUSTOMER, "partners.listOffers", { partnerId: partner.id, q });
    expect(items).toHaveLength(count);
  });
});

describe("products", () => {
  it("partners.createProduct, in another currency than the partner's, is refused", async () => {
    const partner = await shop.openPartner();
    const made = shop.product(partner.id, { price: { amountMinor: 100, currency: "USD" } });
    await expect(made).rejects.toMatchObject({ type: "VALIDATION_ERROR" });
  });

  it("shared by two partners, is changed only by who made it, and outlives that one's offer", async () => {
    const [maker, other] = [await shop.openPartner(), await shop.openPartner()];
    const { productId } = await shop.product(maker.id);
    const theirs = { partnerId: other.id, productId };
    const offered = { ...theirs, price: euro(500), stock: 3, active: true };
    const unknown = shop.as(staffOf(other.id), "partners.updateProduct", { ...theirs, title: "Mine" });
    await expect(unknown).rejects.toMatchObject({ type: "NOT_FOUND" });
    const availability = await shop.as(staffOf(other.id), "partners.setAvailability", offered);
    expect(availability).toEqual({ ...offered, version: expect.any(Number) });
    const foreign = shop.as(staffOf(other.id), "partners.updateProduct", { ...theirs, title: "Mine" });
    await expect(foreign).rejects.toMatchObject({ type: "FORBIDDEN" });
    const own = { partnerId: maker.id, productId };
    const stale = shop.as(staffOf(maker.id), "partners.updateProduct", {
      ...own,
      title: "Loaf",
      expectedVersion: 7,
    });
    await expect(stale).rejects.toMatchObject({ type: "PRECONDITION_FAILED" });
    const loaf = { ...own, title: "Loaf", description: "Dark", expectedVersion: 1 };
    const saved = await shop.as(staffOf(maker.id), "partners.updateProduct", loaf);
    expect(saved).toEqual({ id: productId, title: "Loaf", description: "Dark", version: 2 });

    await shop.as(staffOf(maker.id), "partners.deleteProduct", own);
    const again = shop.as(staffOf(maker.id), "partners.deleteProduct", own);
    await expect(again).rejects.toMatchObject({ type: "NOT_FOUND" });
    const { items } = await shop.as(CUSTOMER, "partners.listOffers", { partnerId: other.id, q: "loaf" });
    expect(items).toMatchObject([{ productId, title: "Loaf", stock: 3 }]);
    await shop.as(staffOf(other.id), "partners.deleteProduct", theirs);
    expect(await shop.sql("SELECT 1 FROM products WHERE id = $1", [productId])).toEqual([]);
    await eventually(() =>
      expect(shop.said).toContainEqual(
        expect.objectContaining({
          type: "availability.changed",
          data: expect.objectContaining({
            deleted: true,
            availability: expect.objectContaining({ partnerId: other.id, productId }),
          }),
        }),
      ),
    );
  });

  it("an offer that was taken away and made again, is newer than it was before", async () => {
    const [partner, other] = [await shop.openPartner(), await shop.openPartner()];
    const { productId } = await shop.product(partner.id);
    await shop.asAdmin("partners.setAvailability", {
      partnerId: other.id,
      productId,
      price: euro(1),
      active: true,
    });
    const offered = { partnerId: partner.id, productId, price: euro(450), active: true };
    const { version: before } = await shop.asAdmin("partners.setAvailability", offered);
    await shop.asAdmin("partners.deleteProduct", { partnerId: partner.id, productId });
    const { version: after } = await shop.asAdmin("partners.setAvailability", offered);
    const deleted = await eventually(() => {
      const told = shop.said.filter(({ subject }) => subject === productId).map(({ data }) => data);
      const gone = (told as { deleted: boolean; version: number }[]).find((one) => one.deleted);
      expect(gone).toBeDefined();
      return gone;
    });
    expect(deleted?.version).toBeGreaterThan(before);
    expect(after).toBeGreaterThan(deleted?.version ?? 0);
  });

  it("partners.setAvailability, of a product that does not exist, finds nothing", async () => {
    const partner = await shop.openPartner();
    const wanted = { partnerId: partner.id, productId: newId(), price: euro(1), active: true };
    await expect(shop.asAdmin("partners.setAvailability", wanted)).rejects.toMatchObject({
      type: "NOT_FOUND",
    });
  });

  it("with a price that cannot be read among others, shows the others on every page and tells an operator once", async () => {
    const { id } = await shop.openPartner();
    const word = `broken${Date.now()}`;
    const offers: Offer[] = [];
    for (let count = 0; count < 5; count++)
      offers.push(await shop.product(id, { title: `${word} ${count}` }));
    // As a release left it that did not bound its sums.
    await shop.sql("ALTER TABLE availability DROP CONSTRAINT availability_sums_bounded");
    await shop.sql("UPDATE availability SET price_minor = 9007199254740993 WHERE product_id = $1", [
      offers[2]?.productId,
    ]);
    for (const limit of [1, 2, 20]) {
      const seen = (await all({ q: word }, limit)).map(({ productId }) => productId);
      expect(seen).toEqual([0, 1, 3, 4].map((at) => offers[at]?.productId).sort());
    }
    const about = () =>
      shop.said.filter(
        ({ type, data }) => type === "alert.raised" && JSON.stringify(data).includes("price_minor"),
      );
    await eventually(() => expect(about()).toMatchObject([{ data: { kind: "row.unreadable" } }]));
  });
});
