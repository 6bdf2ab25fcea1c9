import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Params } from "../../contracts/actions.ts";
import type { Offer } from "../../contracts/catalogue.ts";
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
  it("by pages of any size, during additions and changes, returns existing offers once and in order", async () => {
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

  it("of one partner, by pages, returns each offer once and in order, and none of another partner", async () => {
    const [partner, other] = [await shop.openPartner(), await shop.openPartner()];
    const made: string[] = [];
    for (let count = 0; count < 5; count++) {
      made.push((await shop.product(partner.id)).productId);
      await shop.product(other.id);
    }
    const seen = await all({ partnerId: partner.id }, 2);
    expect(seen.map(({ productId }) => productId)).toEqual(made.sort());
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

describe("partners.listOffers, asked for a text in any script,", () => {
  it.each([
    ["红烧牛肉面", "牛肉面"],
    ["味噌ラーメン大盛", "らーめん"],
    ["ข้าวผัดกุ้ง", "ผัด"],
    ["김치찌개", "찌개"],
    ["Straßenkuchen", "strasse"],
    ["Łosoś wędzony", "losos"],
    ["شَاوَرْمَا الدَّجاج", "شاورما"],
    ["Ispanaklı börek", "ISPANAK"],
  ])("finds %s by %s", async (title, q) => {
    const { id: partnerId } = await shop.openPartner();
    const { productId } = await shop.product(partnerId, { title });
    await shop.product(partnerId, { title: "Bread" });
    const { items } = await shop.as(CUSTOMER, "partners.listOffers", { partnerId, q });
    expect(items.map((offer) => offer.productId)).toEqual([productId]);
  });
});

describe("products", () => {
  it("partners.createProduct, in another currency than the partner's, is refused", async () => {
    const partner = await shop.openPartner();
    const made = shop.product(partner.id, { price: { amountMinor: 100, currency: "USD" } });
    await expect(made).rejects.toMatchObject({ type: "VALIDATION_ERROR" });
  });

  it("of another partner, is offered as a separate copy", async () => {
    const [maker, other] = [await shop.openPartner(), await shop.openPartner()];
    const { productId } = await shop.product(maker.id, { description: "Fresh" });
    const theirs = { partnerId: other.id, productId };
    const offered = { ...theirs, price: euro(500), stock: 3, active: true };
    const unknown = shop.as(staffOf(other.id), "partners.updateProduct", { ...theirs, title: "Mine" });
    await expect(unknown).rejects.toMatchObject({ type: "NOT_FOUND" });
    const copy = await shop.as(staffOf(other.id), "partners.setAvailability", offered);
    expect(copy).toEqual({ ...offered, productId: expect.any(String), version: 1 });
    expect(copy.productId).not.toBe(productId);

    const own = { partnerId: maker.id, productId };
    const loaf = { ...own, title: "Loaf", description: "Dark", expectedVersion: 1 };
    const saved = await shop.as(staffOf(maker.id), "partners.updateProduct", loaf);
    expect(saved).toEqual({ id: productId, title: "Loaf", description: "Dark", version: 2 });
    const shownAt = async (partnerId: string) =>
      (await shop.as(CUSTOMER, "partners.listOffers", { partnerId, limit: 100 })).items;
    expect(await shownAt(other.id)).toMatchObject([
      { productId: copy.productId, title: expect.stringContaining("Bread"), description: "Fresh", stock: 3 },
    ]);
    // Under its own id and under the one that it was copied by, it is the partner's.
    for (const id of [copy.productId, productId]) {
      const roll = { partnerId: other.id, productId: id, title: "Roll" };
      expect(await shop.as(staffOf(other.id), "partners.updateProduct", roll)).toMatchObject({
        id: copy.productId,
        title: "Roll",
      });
    }
    expect(await shownAt(maker.id)).toMatchObject([{ productId, title: "Loaf" }]);
    await shop.as(staffOf(maker.id), "partners.deleteProduct", own);
    const again = shop.as(staffOf(maker.id), "partners.deleteProduct", own);
    await expect(again).rejects.toMatchObject({ type: "NOT_FOUND" });
    expect(await shownAt(other.id)).toMatchObject([{ productId: copy.productId, title: "Roll", stock: 3 }]);
    await shop.as(staffOf(other.id), "partners.deleteProduct", theirs);
    const left = await shop.sql("SELECT 1 FROM products WHERE id = ANY ($1)", [[productId, copy.productId]]);
    expect(left).toEqual([]);
    await eventually(() =>
      expect(shop.said).toContainEqual(
        expect.objectContaining({
          type: "availability.changed",
          data: expect.objectContaining({
            deleted: true,
            availability: expect.objectContaining({ partnerId: other.id, productId: copy.productId }),
          }),
        }),
      ),
    );
  });

  it("of another partner, offered by many requests at once, is copied once", async () => {
    const [maker, other] = [await shop.openPartner(), await shop.openPartner()];
    const { productId } = await shop.product(maker.id);
    const offered = { partnerId: other.id, productId, price: euro(500), active: true };
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => shop.as(staffOf(other.id), "partners.setAvailability", offered)),
    );
    expect(new Set(answers.map((answer) => answer.productId)).size).toBe(1);
    expect(answers.map(({ version }) => version).sort((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  });

  it("a deleted offer is published with a newer version", async () => {
    const { id: partnerId } = await shop.openPartner();
    const { productId } = await shop.product(partnerId, { stock: 9 });
    const { version } = await shop.asAdmin("partners.changeStock", { partnerId, productId, change: 1 });
    await shop.asAdmin("partners.deleteProduct", { partnerId, productId });
    const deleted = await eventually(() => {
      const told = shop.said.filter(({ subject }) => subject === productId).map(({ data }) => data);
      const gone = (told as { deleted: boolean; version: number }[]).find((one) => one.deleted);
      expect(gone).toBeDefined();
      return gone;
    });
    expect(deleted?.version).toBeGreaterThan(version);
  });

  it("can be changed after the sequence of versions has ended", async () => {
    const { id: partnerId } = await shop.openPartner();
    await shop.sql("SELECT setval('availability_versions', 2147483647)");
    const { productId } = await shop.product(partnerId, { stock: 9 });
    await shop.sql("UPDATE availability SET version = 2147483647 WHERE product_id = $1", [productId]);
    const offered = { partnerId, productId, price: euro(500), active: true };
    expect(await shop.asAdmin("partners.setAvailability", offered)).toMatchObject({ version: 2 ** 31 });
    const expectedVersion = 2 ** 31;
    expect(await shop.asAdmin("partners.setAvailability", { ...offered, expectedVersion })).toMatchObject({
      version: 2 ** 31 + 1,
    });
    await expect(shop.product(partnerId)).resolves.toMatchObject({ partnerId });
  });

  it("partners.setAvailability, of an unknown product, is NOT_FOUND", async () => {
    const partner = await shop.openPartner();
    const wanted = { partnerId: partner.id, productId: newId(), price: euro(1), active: true };
    await expect(shop.asAdmin("partners.setAvailability", wanted)).rejects.toMatchObject({
      type: "NOT_FOUND",
    });
  });

  it("with an unreadable price, are omitted, all others are listed, and one alert is raised", async () => {
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
