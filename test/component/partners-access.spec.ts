import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Params } from "../../contracts/actions.ts";
import { alwaysOpen, euro, type PartnersHarness, samplePartner, startPartners } from "../support/partners.ts";

let shop: PartnersHarness;
beforeAll(async () => {
  shop = await startPartners({ settings: { SANDBOX: false } });
});
afterAll(() => shop.stop());

const CUSTOMER = { role: "customer" } as const;
const staffOf = (partnerId: string) => ({ role: "partner", partnerId }) as const;
const adminOf = (partnerId: string) => ({ role: "partner", partnerId, partnerAdmin: true }) as const;

describe("permissions on a partner", () => {
  type Act = (partnerId: string, productId: string) => { [N in "name"]: string } & { params: object };
  const managing: Record<string, Act> = {
    update: (partnerId) => ({ name: "partners.update", params: { partnerId, preparationMinutes: 25 } }),
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
    getAvailability: (partnerId, productId) => ({
      name: "partners.getAvailability",
      params: { partnerId, productId },
    }),
    changeStock: (partnerId, productId) => ({
      name: "partners.changeStock",
      params: { partnerId, productId, change: 1 },
    }),
    deleteProduct: (partnerId, productId) => ({
      name: "partners.deleteProduct",
      params: { partnerId, productId },
    }),
    getWebhook: (partnerId) => ({ name: "partners.getWebhook", params: { partnerId } }),
    listWebhookDeliveries: (partnerId) => ({ name: "partners.listWebhookDeliveries", params: { partnerId } }),
  };
  /** Actions on the partner's name, its money and the keys of its system. */
  const owning: Record<string, Act> = {
    setWebhook: (partnerId) => ({
      name: "partners.setWebhook",
      params: { partnerId, url: "https://shop.example/hooks", enabled: true },
    }),
    rotateWebhookSecret: (partnerId) => ({ name: "partners.rotateWebhookSecret", params: { partnerId } }),
    testWebhook: (partnerId) => ({ name: "partners.testWebhook", params: { partnerId } }),
    ...Object.fromEntries(
      Object.entries({
        title: "The other bakery",
        brand: "Other",
        phone: "+41315550177",
        email: "other@shop.example",
        address: samplePartner().address,
        apiUrl: "https://shop.example/hooks",
        deliveryFeeMinor: 1,
        proof: "pin_and_photo",
      }).map(([field, value]): [string, Act] => [
        `update of ${field}`,
        (partnerId) => ({ name: "partners.update", params: { partnerId, [field]: value } }),
      ]),
    ),
  };

  it.each(Object.keys(owning))(
    "partners.%s: allowed for the operator and the partner's admin, not for its staff",
    async (act) => {
      const partner = await shop.openPartner();
      const other = await shop.openPartner();
      const { name, params } = (owning[act] as Act)(partner.id, "");
      const as = (who: object) => shop.as(who, name as "partners.get", params as Params<"partners.get">);
      for (const who of [CUSTOMER, { role: "deliverer" }, staffOf(partner.id)]) {
        await expect(as(who)).rejects.toMatchObject({ type: "FORBIDDEN", code: 403 });
      }
      for (const who of [staffOf(other.id), adminOf(other.id)]) {
        await expect(as(who)).rejects.toMatchObject({ type: "NOT_FOUND" });
      }
      await expect(as(adminOf(partner.id))).resolves.toBeDefined();
      if (!act.endsWith("title")) await expect(as({ role: "admin" })).resolves.toBeDefined();
    },
  );

  it("partners.update, by staff, with allowed and forbidden fields together, changes nothing", async () => {
    const { id: partnerId, ...before } = await shop.openPartner();
    const change = { partnerId, preparationMinutes: 77, deliveryFeeMinor: 1 };
    await expect(shop.as(staffOf(partnerId), "partners.update", change)).rejects.toMatchObject({
      type: "FORBIDDEN",
    });
    expect(await shop.asAdmin("partners.get", { partnerId })).toMatchObject({ version: before.version });
  });

  it.each(Object.keys(managing))(
    "partners.%s: allowed for the operator and its own staff only",
    async (act) => {
      const partner = await shop.openPartner();
      const other = await shop.openPartner();
      const { productId } = await shop.product(partner.id, { stock: 5 });
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

  it("partners.create, and the fields verified and enabled, are allowed for the operator only", async () => {
    const partner = await shop.openPartner();
    for (const who of [CUSTOMER, staffOf(partner.id), { role: "deliverer" } as const]) {
      await expect(shop.as(who, "partners.create", samplePartner())).rejects.toMatchObject({
        type: "FORBIDDEN",
      });
    }
    for (const change of [{ verified: true }, { enabled: false }]) {
      for (const who of [staffOf(partner.id), adminOf(partner.id)]) {
        const update = shop.as(who, "partners.update", { partnerId: partner.id, ...change });
        await expect(update).rejects.toMatchObject({ type: "FORBIDDEN" });
      }
    }
  });

  it("partners.get, of a hidden partner, is allowed for its staff and the operator only", async () => {
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
