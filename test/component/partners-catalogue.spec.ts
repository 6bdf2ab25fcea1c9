import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Params } from "../../contracts/actions.ts";
import type { Offer } from "../../contracts/partners.ts";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import {
  alwaysOpen,
  euro,
  type PartnersHarness,
  sampleAddress,
  samplePartner,
  startPartners,
} from "../support/partners.ts";

let shop: PartnersHarness;
const clock = { ms: Date.parse("2026-05-05T12:00:00Z"), now: () => clock.ms };
beforeAll(async () => {
  shop = await startPartners({ clock, settings: { SANDBOX: false } });
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

describe("partners", () => {
  it("partners.create, with the title of another in other letters, is refused with PARTNER_EXISTS", async () => {
    const fields = samplePartner();
    await shop.asAdmin("partners.create", fields);
    const again = shop.asAdmin("partners.create", { ...fields, title: fields.title.toUpperCase() });
    await expect(again).rejects.toMatchObject({ type: "PARTNER_EXISTS" });
  });

  it("partners.create, repeated with its Idempotency-Key, makes one partner and one message", async () => {
    const admin = { id: newId(), role: "admin" } as const;
    const fields = samplePartner();
    const create = () => shop.as(admin, "partners.create", fields, { key: "k1", bodyHash: "1".repeat(64) });
    const first = await create();
    expect(await create()).toEqual(first);
    await eventually(() => expect(shop.said.some(({ subject }) => subject === first.id)).toBe(true));
    expect(shop.said.filter(({ subject }) => subject === first.id)).toHaveLength(1);
    const other = shop.as(admin, "partners.create", fields, { key: "k1", bodyHash: "2".repeat(64) });
    await expect(other).rejects.toMatchObject({ type: "IDEMPOTENCY_MISMATCH" });
  });

  it("a new partner is not verified, has no hours and is therefore closed", async () => {
    const made = await shop.asAdmin("partners.create", samplePartner());
    expect(made).toMatchObject({
      verified: false,
      enabled: true,
      open: false,
      hours: { spans: [] },
      version: 1,
    });
  });

  it("partners.update, of another version than expected, changes nothing", async () => {
    const partner = await shop.openPartner();
    const change = { partnerId: partner.id, phone: "+41315550199" };
    const stale = shop.asAdmin("partners.update", { ...change, expectedVersion: partner.version - 1 });
    await expect(stale).rejects.toMatchObject({ type: "PRECONDITION_FAILED" });
    const saved = await shop.asAdmin("partners.update", { ...change, expectedVersion: partner.version });
    expect(saved).toMatchObject({ phone: "+41315550199", version: partner.version + 1 });
    const gone = shop.asAdmin("partners.update", { ...change, partnerId: newId() });
    await expect(gone).rejects.toMatchObject({ type: "NOT_FOUND" });
  });

  it("partners.update, with every field and with empty ones, sets them and takes the optional ones away", async () => {
    const partner = await shop.openPartner({ brand: "Old" });
    const change = {
      ...{ title: `New ${newId()}`, brand: "New", phone: "+41315550188", email: "new@bakery.example" },
      ...{ address: { ...sampleAddress, position: { latitude: 46.9, longitude: 7.4 } } },
      ...{ apiUrl: "https://shop.example/hooks", deliveryFeeMinor: 0, preparationMinutes: 5 },
      proof: "pin_and_photo" as const,
    };
    const saved = await shop.asAdmin("partners.update", { partnerId: partner.id, ...change });
    expect(saved).toMatchObject(change);
    const cleared = await shop.asAdmin("partners.update", { partnerId: partner.id, brand: "", apiUrl: "" });
    expect(cleared).not.toHaveProperty("brand");
    expect(cleared).not.toHaveProperty("apiUrl");
    await eventually(() =>
      expect(shop.said).toContainEqual(
        expect.objectContaining({
          type: "partner.updated",
          data: { version: cleared.version, partner: cleared },
        }),
      ),
    );
  });

  it.each([
    "http://shop.example/",
    "https://127.0.0.1/",
    "https://[::ffff:10.0.0.1]/",
    "https://shop.example:22/",
  ])("a partner's URL that reaches inside, as %s, is refused wherever it is set", async (url) => {
    const partner = await shop.openPartner();
    const partnerId = partner.id;
    const refusal = { type: "VALIDATION_ERROR" };
    const webhook = shop.as(staffOf(partnerId), "partners.setWebhook", { partnerId, url, enabled: true });
    await expect(webhook).rejects.toMatchObject(refusal);
    const update = shop.as(staffOf(partnerId), "partners.update", { partnerId, apiUrl: url });
    await expect(update).rejects.toMatchObject(refusal);
    const create = shop.asAdmin("partners.create", { ...samplePartner(), apiUrl: url });
    await expect(create).rejects.toMatchObject(refusal);
  });

  it("partners.setHours and setBusy decide whether it is open", async () => {
    const { id: partnerId } = await shop.openPartner();
    const open = async () => (await shop.as(CUSTOMER, "partners.get", { partnerId })).open;
    expect(await open()).toBe(true);
    await shop.as(staffOf(partnerId), "partners.setBusy", { partnerId, busyUntil: "2026-05-05T12:30:00Z" });
    expect(await open()).toBe(false);
    clock.ms += 1_800_000;
    expect(await open()).toBe(true);
    await shop.as(staffOf(partnerId), "partners.setBusy", { partnerId });
    const evening = { timeZone: "UTC", spans: [{ weekday: 2, fromMinute: 1_080, untilMinute: 1_320 }] };
    await shop.as(staffOf(partnerId), "partners.setHours", { partnerId, hours: evening });
    expect(await open()).toBe(false);
    const wrong = shop.as(staffOf(partnerId), "partners.setHours", {
      partnerId,
      hours: { ...evening, timeZone: "Mars/Olympus" },
    });
    await expect(wrong).rejects.toMatchObject({ type: "VALIDATION_ERROR" });
    const never = shop.as(staffOf(partnerId), "partners.setBusy", {
      partnerId,
      busyUntil: "2026-02-31T99:00:00Z",
    });
    await expect(never).rejects.toMatchObject({ type: "VALIDATION_ERROR" });
  });

  it("partners.list, by pages, shows customers each enabled and verified partner once", async () => {
    const shown = [await shop.openPartner(), await shop.openPartner(), await shop.openPartner()];
    const hidden = await shop.openPartner();
    await shop.asAdmin("partners.update", { partnerId: hidden.id, enabled: false });
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await shop.as(CUSTOMER, "partners.list", { limit: 2, ...(cursor && { cursor }) });
      for (const partner of page.items) {
        seen.push(partner.id);
        expect(partner).not.toHaveProperty("apiUrl");
      }
      cursor = page.nextCursor;
    } while (cursor);
    expect(seen).toEqual([...new Set(seen)]);
    for (const { id } of shown) expect(seen).toContain(id);
    expect(seen).not.toContain(hidden.id);
    const bad = shop.as(CUSTOMER, "partners.list", { cursor: "bm90LWEtY3Vyc29y" });
    await expect(bad).rejects.toMatchObject({ type: "VALIDATION_ERROR" });
  });
});

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
    expect(availability).toEqual({ ...offered, version: 1 });
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

  it("partners.setAvailability, of a product that does not exist, finds nothing", async () => {
    const partner = await shop.openPartner();
    const wanted = { partnerId: partner.id, productId: newId(), price: euro(1), active: true };
    await expect(shop.asAdmin("partners.setAvailability", wanted)).rejects.toMatchObject({
      type: "NOT_FOUND",
    });
  });
});

describe("partners.check", () => {
  it("of a cart, computes every price itself and changes nothing", async () => {
    const partner = await shop.openPartner();
    const bread = await shop.product(partner.id, { stock: 5, price: euro(450) });
    const quote = await shop.as(CUSTOMER, "partners.check", {
      partnerId: partner.id,
      lines: [{ productId: bread.productId, quantity: 2 }],
      address: sampleAddress,
      note: "Ring twice",
    });
    expect(quote).toMatchObject({
      partner: { id: partner.id, pickup: sampleAddress },
      lines: [{ productId: bread.productId, title: "Bread", quantity: 2, unitPrice: euro(450) }],
      ...{ fee: euro(300), total: euro(1200), address: sampleAddress, note: "Ring twice" },
      expiresAt: new Date(clock.ms + 600_000).toISOString(),
    });
    const [left] = await shop.sql<{ stock: number }>("SELECT stock FROM availability WHERE product_id = $1", [
      bread.productId,
    ]);
    expect(left?.stock).toBe(5);
  });

  it("of what cannot be had, names each line with its reason", async () => {
    const partner = await shop.openPartner();
    const few = await shop.product(partner.id, { stock: 1 });
    const foreign = await shop.product((await shop.openPartner()).id);
    const cart = {
      partnerId: partner.id,
      lines: [
        { productId: few.productId, quantity: 2 },
        { productId: foreign.productId, quantity: 1 },
      ],
      address: sampleAddress,
    };
    await expect(shop.as(CUSTOMER, "partners.check", cart)).rejects.toMatchObject({
      type: "PRODUCT_UNAVAILABLE",
      data: {
        lines: [
          { productId: few.productId, reason: "out_of_stock", available: 1 },
          { productId: foreign.productId, reason: "not_offered" },
        ],
      },
    });
  });

  it("at a partner that is closed, says when it opens; at one that is hidden, finds nothing", async () => {
    const partner = await shop.openPartner();
    const bread = await shop.product(partner.id);
    const cart = {
      partnerId: partner.id,
      lines: [{ productId: bread.productId, quantity: 1 }],
      address: sampleAddress,
    };
    const busyUntil = new Date(clock.ms + 3_600_000).toISOString();
    await shop.asAdmin("partners.setBusy", { partnerId: partner.id, busyUntil });
    await expect(shop.as(CUSTOMER, "partners.check", cart)).rejects.toMatchObject({
      type: "PARTNER_CLOSED",
      data: { partnerId: partner.id, opensAt: busyUntil },
    });
    await shop.asAdmin("partners.update", { partnerId: partner.id, enabled: false });
    await expect(shop.as(CUSTOMER, "partners.check", cart)).rejects.toMatchObject({ type: "NOT_FOUND" });
  });
});

describe("who may do what with a partner", () => {
  type Act = (partnerId: string, productId: string) => { [N in "name"]: string } & { params: object };
  const managing: Record<string, Act> = {
    update: (partnerId) => ({ name: "partners.update", params: { partnerId, phone: "+41315550177" } }),
    setHours: (partnerId) => ({ name: "partners.setHours", params: { partnerId, hours: alwaysOpen } }),
    setBusy: (partnerId) => ({ name: "partners.setBusy", params: { partnerId } }),
    createProduct: (partnerId) => ({
      name: "partners.createProduct",
      params: { partnerId, title: "Cake", price: euro(100) },
    }),
    updateProduct: (partnerId, productId) => ({
      name: "partners.updateProduct",
      params: { partnerId, productId, title: "Roll" },
    }),
    setAvailability: (partnerId, productId) => ({
      name: "partners.setAvailability",
      params: { partnerId, productId, price: euro(1), active: true },
    }),
    deleteProduct: (partnerId, productId) => ({
      name: "partners.deleteProduct",
      params: { partnerId, productId },
    }),
    getWebhook: (partnerId) => ({ name: "partners.getWebhook", params: { partnerId } }),
    setWebhook: (partnerId) => ({
      name: "partners.setWebhook",
      params: { partnerId, url: "https://shop.example/hooks", enabled: true },
    }),
    rotateWebhookSecret: (partnerId) => ({ name: "partners.rotateWebhookSecret", params: { partnerId } }),
    testWebhook: (partnerId) => ({ name: "partners.testWebhook", params: { partnerId } }),
    listWebhookDeliveries: (partnerId) => ({ name: "partners.listWebhookDeliveries", params: { partnerId } }),
  };

  it.each(Object.keys(managing))(
    "partners.%s: the operator and its own staff may, all others may not",
    async (act) => {
      const partner = await shop.openPartner();
      const other = await shop.openPartner();
      const { productId } = await shop.product(partner.id);
      const { name, params } = (managing[act] as Act)(partner.id, productId);
      const as = (who: object) => shop.as(who, name as "partners.get", params as Params<"partners.get">);
      await expect(shop.bare(name as "partners.get", params as never)).rejects.toMatchObject({
        type: "UNAUTHENTICATED",
      });
      await expect(as(CUSTOMER)).rejects.toMatchObject({ type: "FORBIDDEN" });
      await expect(as({ role: "deliverer" })).rejects.toMatchObject({ type: "FORBIDDEN" });
      await expect(as(staffOf(other.id))).rejects.toMatchObject({ type: "NOT_FOUND" });
      await expect(as(staffOf(partner.id))).resolves.toBeDefined();
      if (act !== "deleteProduct") await expect(as({ role: "admin" })).resolves.toBeDefined();
    },
  );

  it("partners.create, and whether it is verified or enabled, are the operator's alone", async () => {
    const partner = await shop.openPartner();
    for (const who of [CUSTOMER, staffOf(partner.id), { role: "deliverer" } as const]) {
      await expect(shop.as(who, "partners.create", samplePartner())).rejects.toMatchObject({
        type: "FORBIDDEN",
      });
    }
    for (const change of [{ verified: true }, { enabled: false }]) {
      const update = shop.as(staffOf(partner.id), "partners.update", { partnerId: partner.id, ...change });
      await expect(update).rejects.toMatchObject({ type: "FORBIDDEN" });
    }
  });

  it("partners.get, of a hidden partner, is for its staff and the operator; staff see only their own", async () => {
    const hidden = await shop.asAdmin("partners.create", {
      ...samplePartner(),
      apiUrl: "https://shop.example/h",
    });
    const partnerId = hidden.id;
    const shown = await shop.openPartner();
    await expect(shop.as(CUSTOMER, "partners.get", { partnerId })).rejects.toMatchObject({
      type: "NOT_FOUND",
    });
    expect(await shop.as(staffOf(partnerId), "partners.get", { partnerId })).toMatchObject({
      apiUrl: hidden.apiUrl,
    });
    expect(await shop.asAdmin("partners.get", { partnerId })).toMatchObject({ id: partnerId });
    const foreign = shop.as(staffOf(partnerId), "partners.get", { partnerId: shown.id });
    await expect(foreign).rejects.toMatchObject({ type: "NOT_FOUND" });
    const offers = shop.as(staffOf(partnerId), "partners.listOffers", { partnerId: shown.id });
    await expect(offers).rejects.toMatchObject({ type: "NOT_FOUND" });
    const own = await shop.as(staffOf(partnerId), "partners.list", {});
    expect(own.items.map(({ id }) => id)).toEqual([partnerId]);
  });
});
