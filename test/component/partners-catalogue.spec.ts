import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { isoTime } from "../../lib/clock.ts";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import {
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

describe("partners", () => {
  it("partners.create, with the title of another partner in other case, is refused with PARTNER_EXISTS", async () => {
    const fields = samplePartner();
    await shop.asAdmin("partners.create", fields);
    const again = shop.asAdmin("partners.create", { ...fields, title: fields.title.toUpperCase() });
    await expect(again).rejects.toMatchObject({ type: "PARTNER_EXISTS" });
  });

  it("partners.update, to the title of another partner, is refused with PARTNER_EXISTS and changes nothing", async () => {
    const [partner, other] = [await shop.openPartner(), await shop.openPartner()];
    const change = { partnerId: partner.id, title: other.title.toUpperCase() };
    await expect(shop.asAdmin("partners.update", change)).rejects.toMatchObject({ type: "PARTNER_EXISTS" });
    expect(await shop.asAdmin("partners.get", { partnerId: partner.id })).toEqual(partner);
  });

  it("partners.create, repeated with its Idempotency-Key, creates one partner and one message", async () => {
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

  it("an address without a postal code is complete in a country that has none, and else refused", async () => {
    const partner = await shop.openPartner();
    const nowhere = { ...sampleAddress, postalCode: "" };
    const dubai = { line1: "Al Wasl Road 12", city: "Dubai", postalCode: "", country: "AE" };
    const refusal = {
      type: "VALIDATION_ERROR",
      data: { errors: [{ field: "address.postalCode", rule: "postalCode" }] },
    };
    const { productId } = await shop.product(partner.id);
    const cart = { partnerId: partner.id, lines: [{ productId, quantity: 1 }] };
    for (const act of [
      (address: typeof dubai) => shop.asAdmin("partners.create", { ...samplePartner(), address }),
      (address: typeof dubai) => shop.asAdmin("partners.update", { partnerId: partner.id, address }),
      (address: typeof dubai) => shop.as(CUSTOMER, "partners.check", { ...cart, address }),
    ]) {
      await expect(act(nowhere)).rejects.toMatchObject(refusal);
      await expect(act(dubai)).resolves.toMatchObject({ address: dubai });
    }
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

  it("partners.update, setHours and setBusy, with a version that is not its own, change nothing", async () => {
    const partner = await shop.openPartner();
    const stale = { partnerId: partner.id, expectedVersion: partner.version + 1 };
    const refusal = { type: "PRECONDITION_FAILED" };
    const hours = { timeZone: "UTC", spans: [] };
    await expect(shop.asAdmin("partners.update", stale)).rejects.toMatchObject(refusal);
    await expect(shop.asAdmin("partners.setHours", { ...stale, hours })).rejects.toMatchObject(refusal);
    await expect(shop.asAdmin("partners.setBusy", stale)).rejects.toMatchObject(refusal);
    expect(await shop.asAdmin("partners.get", { partnerId: partner.id })).toEqual(partner);
    const known = { partnerId: partner.id, expectedVersion: partner.version };
    expect(await shop.asAdmin("partners.setHours", { ...known, hours })).toMatchObject({ hours });
    const busy = shop.asAdmin("partners.setBusy", { ...known, partnerId: newId() });
    await expect(busy).rejects.toMatchObject({ type: "NOT_FOUND" });
  });

  it("partners.update and updateProduct, with null, remove optional fields; without fields, do not change the version", async () => {
    const { id: partnerId } = await shop.openPartner({ brand: "Old", apiUrl: "https://shop.example/hooks" });
    const cleared = await shop.asAdmin("partners.update", { partnerId, brand: null, apiUrl: null });
    expect(Object.keys(cleared).filter((name) => name === "brand" || name === "apiUrl")).toEqual([]);
    const texts = { description: "Dark", brand: "Mill", imageUrl: "https://shop.example/loaf.png" };
    const { productId } = await shop.product(partnerId, texts);
    const product = { partnerId, productId };
    const nothing = { description: null, brand: null, imageUrl: null };
    const bare = await shop.asAdmin("partners.updateProduct", { ...product, ...nothing });
    expect(bare).toEqual({ id: productId, title: bare.title, version: 2 });
    expect(await shop.asAdmin("partners.update", { partnerId })).toEqual(cleared);
    expect(await shop.asAdmin("partners.updateProduct", product)).toEqual(bare);
    const { version } = await shop.asAdmin("partners.update", { partnerId, brand: "New" });
    const told = (id: string) => shop.said.filter(({ subject }) => subject === id);
    // One message for each version of the partner; of the offer, its making and its change.
    await eventually(() => expect(told(partnerId)).toHaveLength(version));
    await eventually(() => expect(told(productId)).toHaveLength(2));
  });

  it("partners.update, with every field, sets all; with empty texts, removes optional fields", async () => {
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
  ])("a partner's URL with a private address, such as %s, is refused in every field", async (url) => {
    const partner = await shop.openPartner();
    const partnerId = partner.id;
    const refusal = { type: "VALIDATION_ERROR" };
    const itsAdmin = { ...staffOf(partnerId), partnerAdmin: true };
    const webhook = shop.as(itsAdmin, "partners.setWebhook", { partnerId, url, enabled: true });
    await expect(webhook).rejects.toMatchObject(refusal);
    const update = shop.as(itsAdmin, "partners.update", { partnerId, apiUrl: url });
    await expect(update).rejects.toMatchObject(refusal);
    const create = shop.asAdmin("partners.create", { ...samplePartner(), apiUrl: url });
    await expect(create).rejects.toMatchObject(refusal);
  });

  it("partners.setHours and setBusy, with an older time than the stored one, change nothing", async () => {
    const { id: partnerId } = await shop.openPartner();
    const ago = (minutes: number) => new Date(Date.now() - minutes * 60_000).toISOString();
    const hoursOf = (fromMinute: number) => ({
      timeZone: "UTC",
      spans: [{ weekday: 2, fromMinute, untilMinute: 1_320 }],
    });
    await shop.sql("UPDATE partners SET hours_set_at = now() - interval '1 hour' WHERE id = $1", [partnerId]);
    const setHours = (fromMinute: number, minutesAgo: number) =>
      shop.asAdmin("partners.setHours", { partnerId, hours: hoursOf(fromMinute), at: ago(minutesAgo) });
    const newer = await setHours(600, 5);
    expect(newer.hours).toEqual(hoursOf(600));
    expect(await setHours(700, 10)).toMatchObject({ hours: hoursOf(600), version: newer.version });
    expect((await setHours(800, 1)).hours).toEqual(hoursOf(800));
    const busyUntil = isoTime(clock.ms + 600_000);
    await shop.asAdmin("partners.setBusy", { partnerId, busyUntil, at: ago(5) });
    expect(await shop.asAdmin("partners.setBusy", { partnerId, at: ago(10) })).toMatchObject({ open: false });
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
    for (const busyUntil of ["2026-02-31T99:00:00Z", "0000-01-01T00:00:00Z"]) {
      const never = shop.as(staffOf(partnerId), "partners.setBusy", { partnerId, busyUntil });
      await expect(never).rejects.toMatchObject({ type: "VALIDATION_ERROR" });
    }
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

describe("partners.check", () => {
  it("of a cart, computes every price and changes nothing", async () => {
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

  it("of unavailable products, returns each line with its reason", async () => {
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

  it("at a closed partner, returns its opening time; at a hidden one, is NOT_FOUND", async () => {
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
      message: `It opens at ${busyUntil}.`,
      data: { partnerId: partner.id, opensAt: busyUntil },
    });
    await shop.asAdmin("partners.update", { partnerId: partner.id, enabled: false });
    await expect(shop.as(CUSTOMER, "partners.check", cart)).rejects.toMatchObject({ type: "NOT_FOUND" });
  });
});
